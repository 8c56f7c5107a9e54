"""What the words of `comat audit` name, and what of it is refused before anything runs."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from comat_core.support.errors import UserError
from stages.studies.audit.subjects import Kind, find_kind, read_subjects
from tests.stages.studies.audit.audits import FAST

BASE = "data/miniature/base"


@pytest.fixture
def lora(tmp_path: Path) -> Path:
    (tmp_path / "lora").mkdir()
    save_file({"a": torch.zeros(1)}, tmp_path / "lora" / "any_name.safetensors")
    return tmp_path / "lora"


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    (tmp_path / "pictures" / "samples").mkdir(parents=True)
    (tmp_path / "pictures" / "samples" / "a red circle_000000.png").write_bytes(b"")
    return tmp_path / "pictures"


def test_a_word_names_what_lies_there(lora: Path, pictures: Path) -> None:
    assert find_kind(BASE, "MODEL", has_base=False) is Kind.PIPELINE
    assert find_kind("data://miniature/base", "MODEL", has_base=False) is Kind.PIPELINE
    assert find_kind(str(lora), "MODEL", has_base=True) is Kind.LORA
    assert find_kind(str(lora / "any_name.safetensors"), "MODEL", has_base=True) is Kind.LORA
    assert find_kind(str(pictures), "MODEL", has_base=False) is Kind.FOLDER
    assert find_kind("org/model@abc", "MODEL", has_base=False) is Kind.PIPELINE
    assert find_kind("org/model", "MODEL", has_base=True) is Kind.LORA


def test_a_lora_is_compared_with_its_base_unless_something_else_is_named(lora: Path, pictures: Path) -> None:
    model, against = read_subjects(str(lora), None, BASE, FAST)
    assert against is not None
    assert (model.name, against.name) == ("lora", "base")
    assert model.generator.lora is not None and against.generator.lora is None
    assert model.generator.pipeline == against.generator.pipeline
    assert model.generator.num_inference_steps == against.generator.num_inference_steps == 2
    _, other = read_subjects(str(lora), str(pictures), BASE, FAST)
    assert other is not None and other.kind is Kind.FOLDER


def test_a_pipeline_is_audited_alone_unless_another_is_named() -> None:
    model, against = read_subjects(BASE, None, None, FAST)
    assert against is None
    assert model.generator.pipeline is not None
    assert Path(model.generator.pipeline.path).is_absolute(), "the audit's preset may be read from elsewhere"


@pytest.mark.parametrize(
    ("model", "against", "base", "problem"),
    [
        ("./nowhere/at/all", None, None, r"there is nothing at \./nowhere/at/all \(MODEL\)"),
        (BASE, "../x/y/z", None, r"there is nothing at .* \(--against\)"),
        (BASE, None, BASE, r"--base names a model, but .* is a pipeline"),
        ("LORA", None, None, r"is a LoRA without a base \(--base\)"),
        (BASE, "LORA", None, r"is a LoRA without a base \(--base\)"),
        ("LORA", None, "PICTURES", r"is a folder of images, no pipeline \(--base\)"),
        ("EMPTY", None, None, "holds no model_index.json, no LoRA and no images"),
        ("README.md", None, None, "is neither a folder nor a LoRA"),
    ],
)
def test_what_is_missing_or_does_not_go_together_is_one_line(
    lora: Path, pictures: Path, tmp_path: Path, model: str, against: str | None, base: str | None, problem: str
) -> None:
    (tmp_path / "empty").mkdir()
    places = {"LORA": str(lora), "PICTURES": str(pictures), "EMPTY": str(tmp_path / "empty")}
    words = [None if word is None else places.get(word, word) for word in (model, against, base)]
    assert words[0] is not None
    with pytest.raises(UserError, match=problem):
        read_subjects(words[0], words[1], words[2], FAST)
