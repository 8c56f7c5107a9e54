"""What a checkpoint may name, and what it may not: no code but the libraries' own ever runs."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import diffusers
import pytest
import torch
from transformers import BertModel

from comat_core.backbones.checkpoints.pipeline_index import (
    INDEX_FILE,
    NOT_TRAINABLE,
    check_backbone,
    check_index,
    check_schedule,
    left_out_of,
)
from comat_core.backbones.checkpoints.pipeline_loading import load_pipeline
from comat_core.backbones.families import FAMILIES
from comat_core.backbones.loading import load_backbone
from comat_core.scorers.sentence_similarity import SentenceSimilarity
from comat_core.support.errors import UserError
from comat_core.support.pretrained import load_processor, load_tokenizer, read_model_config
from stages.entities import load_layout
from stages.plan.config import ModelReference
from tests.changed_checkpoints import change_json, copy_of
from tests.tiny_segmenters import save_tiny_bert


@pytest.fixture
def code(tmp_path: Path) -> tuple[str, Path]:
    """A module that leaves a mark when it runs, and the mark."""
    mark = tmp_path / "it ran"
    return f"from pathlib import Path\nPath({str(mark)!r}).touch()\nfrom diffusers import *\n", mark


def pipeline_of_its_own(folder: Path, code: str) -> None:
    change_json(folder / INDEX_FILE, _class_name=["mine", "StableDiffusionPipeline"])
    (folder / "mine.py").write_text(code)


def component_of_its_own(folder: Path, code: str) -> None:
    change_json(folder / INDEX_FILE, unet=["mine", "UNet2DConditionModel"])
    (folder / "unet/mine.py").write_text(code)


def module_in_the_librarys_name(folder: Path, code: str) -> None:
    (folder / "unet/diffusers.py").write_text(code)


def module_in_nobodys_name(folder: Path, code: str) -> None:
    """Where the library asks for a custom pipeline although none is named."""
    (folder / "None.py").write_text(code)


def module_that_is_installed(folder: Path, code: str) -> None:
    change_json(folder / INDEX_FILE, unet=["foreign_module", "UNet2DConditionModel"])
    (folder.parent / "foreign_module.py").write_text(code)


@pytest.mark.parametrize(
    ("plant", "message"),
    [
        (pipeline_of_its_own, r"the pipeline's class is \['mine', 'StableDiffusionPipeline'\], no class of diffusers"),
        (component_of_its_own, "its unet is mine.UNet2DConditionModel, which is no part of diffusers"),
        (module_in_the_librarys_name, "the checkpoint brings code of its own, diffusers.py"),
        (module_in_nobodys_name, "the checkpoint brings code of its own, None.py"),
        (module_that_is_installed, "its unet is foreign_module.UNet2DConditionModel, which is no part"),
    ],
)
def test_code_that_a_checkpoint_brings_or_names_never_runs(
    tiny_sd_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    code: tuple[str, Path],
    plant: Callable[[Path, str], None],
    message: str,
) -> None:
    folder = copy_of(tiny_sd_folder, tmp_path / "base")
    text, mark = code
    plant(folder, text)
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(UserError, match=message):
        load_backbone(folder)
    with pytest.raises(UserError, match=message):
        load_pipeline(folder, {}, torch.float32)
    assert not mark.exists()
    assert "foreign_module" not in sys.modules


@pytest.fixture
def questions(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What was asked on the terminal; the answer to everything is yes."""
    asked: list[str] = []

    def say_yes(question: str = "") -> str:
        asked.append(question)
        return "yes"

    monkeypatch.setattr("builtins.input", say_yes)
    return asked


@pytest.mark.parametrize(
    "load",
    [
        lambda folder: read_model_config(str(folder)),
        lambda folder: load_tokenizer(str(folder)),
        lambda folder: load_processor(str(folder)),
        lambda folder: SentenceSimilarity.load(str(folder)),
    ],
)
def test_a_models_own_classes_are_refused_without_a_question(
    tmp_path: Path, questions: list[str], code: tuple[str, Path], load: Callable[[Path], object]
) -> None:
    folder = Path(save_tiny_bert(tmp_path / "bert"))
    own = {"AutoConfig": "mine.BertConfig", "AutoModel": "mine.BertModel"}
    change_json(folder / "config.json", auto_map=own, model_type="mine")
    change_json(folder / "tokenizer_config.json", auto_map={"AutoTokenizer": ["mine.T", None]}, tokenizer_class="T")
    processor = {"auto_map": {"AutoProcessor": "mine.P"}, "processor_class": "P"}
    (folder / "processor_config.json").write_text(json.dumps(processor))
    (folder / "mine.py").write_text(code[0])
    with pytest.raises(UserError, match="contains custom code"):
        load(folder)
    assert not code[1].exists()
    assert questions == []


def test_a_base_models_tokenizer_is_refused_without_a_question(
    tiny_sd_folder: Path, tmp_path: Path, questions: list[str]
) -> None:
    folder = copy_of(tiny_sd_folder, tmp_path / "base")
    settings = folder / "tokenizer/tokenizer_config.json"
    change_json(settings, auto_map={"AutoTokenizer": ["mine.T", None]}, tokenizer_class="T")
    with pytest.raises(UserError, match=r"the model has no tokenizer: .* contains custom code"):
        load_layout(ModelReference(path=str(folder)))
    assert questions == []


def test_a_config_that_asks_for_kernels_of_the_hub_is_refused(tiny_sd_folder: Path, tmp_path: Path) -> None:
    folder = Path(save_tiny_bert(tmp_path / "bert"))
    change_json(folder / "config.json", attn_implementation="somebody/kernel")
    with pytest.raises(UserError, match="asks for code of the hub: attn_implementation somebody/kernel"):
        read_model_config(str(folder))
    base = copy_of(tiny_sd_folder, tmp_path / "base")
    change_json(base / "text_encoder/config.json", _attn_implementation="somebody/kernel")
    with pytest.raises(UserError, match="asks for code of the hub: _attn_implementation somebody/kernel"):
        load_backbone(base)


def test_a_pickle_that_holds_code_is_told_and_does_not_run(tmp_path: Path, code: tuple[str, Path]) -> None:
    class Trap:
        def __reduce__(self) -> tuple[Any, ...]:
            return exec, (code[0],)

    folder = Path(save_tiny_bert(tmp_path / "bert"))
    (folder / "model.safetensors").unlink()
    torch.save({"embeddings.word_embeddings.weight": Trap()}, folder / "pytorch_model.bin")
    with pytest.raises(UserError, match="cannot load the model") as caught:
        SentenceSimilarity.load(str(folder))
    assert "\n" not in str(caught.value)
    assert not code[1].exists()


def test_weights_that_an_encoder_lacks_are_not_made_up(tmp_path: Path) -> None:
    folder = save_tiny_bert(tmp_path / "bert")
    whole = BertModel.from_pretrained(folder)
    weights = {name: value for name, value in whole.state_dict().items() if not name.startswith("pooler.")}
    whole.save_pretrained(folder, state_dict=weights)
    SentenceSimilarity.load(folder)
    whole.save_pretrained(folder, state_dict={f"x.{name}": value for name, value in weights.items()})
    with pytest.raises(UserError, match=r"the sentence encoder lacks \d+ weights, among them embeddings\."):
        SentenceSimilarity.load(folder)


INDEX: dict[str, Any] = {
    "_class_name": "StableDiffusionPipeline",
    "_diffusers_version": "0.42.1",
    "requires_safety_checker": True,
    "safety_checker": ["stable_diffusion", "StableDiffusionSafetyChecker"],
    "feature_extractor": [None, None],
    "scheduler": ["diffusers", "PNDMScheduler"],
    "text_encoder": ["transformers", "CLIPTextModel"],
    "tokenizer": ["transformers", "CLIPTokenizer"],
    "unet": ["diffusers", "UNet2DConditionModel"],
    "vae": ["diffusers", "AutoencoderKL"],
}


def test_the_index_of_a_published_checkpoint_is_accepted() -> None:
    index = check_index(INDEX, "base")
    check_backbone(index, "base")
    assert set(index.parts) == set(INDEX) - {
        "_class_name",
        "_diffusers_version",
        "requires_safety_checker",
        "feature_extractor",
    }
    assert {name for name, part in index.parts.items() if part.is_network} == {
        "safety_checker",
        "text_encoder",
        "unet",
        "vae",
    }
    left_out = {"safety_checker": None, "feature_extractor": None, "image_encoder": None}
    assert left_out_of(index) == {**left_out, "requires_safety_checker": False}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"_class_name": None}, "the pipeline's class is None"),
        ({"_class_name": "../mine"}, "the pipeline's class is '../mine'"),
        ({"_class_name": {}}, "the pipeline's class is {}"),
        ({"unet": ["os", "system"]}, "its unet is os.system, which is no part of diffusers or transformers"),
        ({"unet": ["diffusers.utils", "X"]}, "its unet is diffusers.utils.X"),
        ({"unet": ["diffusers", "models.X"]}, "its unet is diffusers.models.X"),
        ({"../unet": ["diffusers", "UNet2DConditionModel"]}, "its ../unet is diffusers.UNet2DConditionModel"),
        ({"unet": ["diffusers"]}, r"the entry of its unet is \['diffusers'\]"),
        ({"unet": ["diffusers", 1]}, "the entry of its unet is"),
        ({"unet": [None, "X"]}, "the entry of its unet is"),
    ],
)
def test_what_an_index_may_not_say_is_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        check_index(INDEX | change, "base")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"_class_name": "KandinskyPipeline"}, "is a KandinskyPipeline, which is not supported"),
        ({"_class_name": "FluxFillPipeline"}, "is a FluxFillPipeline, which fills holes in an image that it is given"),
        ({"_class_name": "FluxKontextPipeline"}, "is a FluxKontextPipeline, which changes an image that it is given"),
        ({"_class_name": "FluxControlPipeline"}, "is a FluxControlPipeline, which draws after a sketch"),
        ({"text_encoder": ["transformers", "T5EncoderModel"]}, "its text_encoder is T5EncoderModel, not CLIPText"),
        ({"vae": ["diffusers", "AutoencoderTiny"]}, "its vae is AutoencoderTiny, not AutoencoderKL"),
        ({"vae": [None, None]}, "the checkpoint has no vae"),
        (
            {"scheduler": ["diffusers", "EDMDPMSolverMultistepScheduler"]},
            "its scheduler is EDMDPMSolverMultistepScheduler, so that ddpm, ddim and dpm-solver",
        ),
        ({"scheduler": ["diffusers", "FlowMatchEulerDiscreteScheduler"]}, "its scheduler is FlowMatchEuler"),
    ],
)
def test_a_part_of_another_class_is_refused_by_name(change: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        check_backbone(check_index(INDEX | change, "base"), "base")


def test_parts_that_come_from_elsewhere_are_not_asked_of_the_checkpoint() -> None:
    check_backbone(check_index(INDEX | {"vae": ["diffusers", "AutoencoderTiny"]}, "base"), "base", {"vae"})


@pytest.mark.parametrize("kind", NOT_TRAINABLE)
def test_a_kind_that_cannot_be_trained_is_one_that_people_may_have(kind: str) -> None:
    assert issubclass(getattr(diffusers, kind), diffusers.DiffusionPipeline)
    assert kind not in FAMILIES


@pytest.mark.parametrize("kind", FAMILIES)
def test_every_family_names_its_denoiser_its_text_streams_and_its_pipeline(kind: str) -> None:
    family = FAMILIES[kind]
    assert issubclass(getattr(diffusers, kind), diffusers.DiffusionPipeline)
    assert family.backbone_class().denoiser_part in family.parts
    assert {part for stream in family.text_streams for part in (stream.tokenizer, stream.encoder)} <= set(family.parts)


@pytest.mark.parametrize("content", ["[]", "{", "[" * 100_000, '{"a": ' + "1" * 5_000 + "}", "\ud800", "null"])
def test_an_index_that_is_no_object_is_told_in_one_line(tmp_path: Path, content: str) -> None:
    (tmp_path / INDEX_FILE).write_bytes(content.encode("utf-8", "surrogatepass"))
    message = r"the config (holds no JSON object|is not UTF-8)|malformed JSON"
    with pytest.raises(UserError, match=message) as caught:
        load_backbone(tmp_path)
    assert "\n" not in str(caught.value)


def test_noise_levels_that_are_no_betas_are_refused_whatever_the_index_says(
    tiny_sd_folder: Path, tmp_path: Path
) -> None:
    check_schedule(tiny_sd_folder, "StableDiffusionPipeline")
    folder = copy_of(tiny_sd_folder, tmp_path / "base")
    file = folder / "scheduler/scheduler_config.json"
    settings = {"sigma_min": 0.002, "sigma_max": 80.0, "sigma_data": 0.5, "prediction_type": "epsilon"}
    file.write_text(json.dumps({"_class_name": "DDPMScheduler", **settings}))
    with pytest.raises(UserError, match="its scheduler names no betas"):
        load_backbone(folder)
    file.write_text(json.dumps({"_class_name": "EDMEulerScheduler", **settings}))
    with pytest.raises(UserError, match="its scheduler is EDMEulerScheduler"):
        load_backbone(folder)
