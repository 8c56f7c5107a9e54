"""`comat models`, `sample` and `export`: what they print, and the one line for every mistake."""

import re
from functools import partial
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
from huggingface_hub import constants
from huggingface_hub.errors import LocalEntryNotFoundError

from comat_core.support.errors import UserError
from flows.command_line.cli import main
from stages.models.hub import HALF_PRECISION, MODEL_FILES, Presence, fetch_file, fetch_folder, look_up, push_folder
from stages.plan.config import ModelReference
from tests.changed_checkpoints import UNET, copy_of, pickled_alone
from tests.flows.test_bad_input import fails_with

COMMIT = "a" * 40


@pytest.fixture
def hub_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache, and no connection."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    return tmp_path / "hub"


def cache(folder: Path, repository: str, files: dict[str, bytes]) -> None:
    """Put files where the hub's library would."""
    snapshot = folder / f"models--{repository.replace('/', '--')}" / "snapshots" / COMMIT
    for name, content in files.items():
        (snapshot / name).parent.mkdir(parents=True, exist_ok=True)
        (snapshot / name).write_bytes(content)


def test_models_lists_what_a_preset_needs_with_size_and_licence(
    hub_cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["models", "sdxl", "--set", "models.captioner=data://miniature/captioner"]) == 0
    blocks = capsys.readouterr().out
    assert "stabilityai/stable-diffusion-xl-base-1.0 @ 462165984030d82259a11f4367a4eed129e94a7b" in blocks
    assert blocks.count("    not cached, ") == 13
    assert (
        "weights-inception-2015-12-05-6726825d.pth\n    not cached, 95.6 MB, Apache-2.0; evaluate.fid.extractor"
        in blocks
    )
    assert "CreativeML OpenRAIL++-M" in blocks
    assert "ybelkada/segment-anything/checkpoints/sam_vit_h_4b8939.pth" in blocks
    assert "2,564.6 MB, Apache-2.0; train.segmentation.sam" in blocks
    assert re.search(r"data://miniature/captioner\n    local, [\d.]+ MB, MIT; train.captioner", blocks)
    assert "en_core_web_trf\n    not installed: python -m spacy download en_core_web_trf" in blocks
    assert "./coco" not in blocks
    assert not hub_cache.exists()


def test_models_of_the_ablation_are_listed_once(hub_cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["models", "sd15"])
    own = capsys.readouterr().out
    assert main(["models", "sd15", "--ablation"]) == 0
    blocks = capsys.readouterr().out
    assert blocks.startswith(own.split("en_core_web_trf")[0])
    for name in ("microsoft/git-large-coco", "facebook/dinov2"):
        assert name not in own
        assert blocks.count(name) == 1
    assert not hub_cache.exists()


def test_what_is_in_the_cache_is_found_with_its_size(hub_cache: Path) -> None:
    assert look_up("org/model", "weights.pth", COMMIT) == (Presence.MISSING, 0)
    assert look_up("org/model", None, COMMIT) == (Presence.MISSING, 0)
    cache(hub_cache, "org/model", {"weights.pth": b"1234", "config.json": b"{}"})
    assert look_up("org/model", "weights.pth", COMMIT) == (Presence.CACHED, 4)
    assert look_up("org/model", None, COMMIT) == (Presence.CACHED, 6)
    assert fetch_file("org/model", "weights.pth", COMMIT).read_bytes() == b"1234"


def test_models_that_cannot_be_used_are_not_called_whole(
    hub_cache: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    base = copy_of(Path(ModelReference(path="data://miniature/base").resolve()), tmp_path / "base")
    captioner = f"{{path: org/captioner, revision: {COMMIT}}}"
    cache(hub_cache, "org/captioner", {"config.json": b"{}", "model.onnx": b"1234"})
    arguments = ["models", "miniature", "--set", f"models.base={base}", "--set", f"models.captioner={captioner}"]
    pickled_alone(base / UNET)
    assert main(arguments) == 0
    blocks = capsys.readouterr().out
    problem = "its unet has no safetensors weights, only diffusion_pytorch_model.bin, which is not read"
    assert f"{base}\n    local, but unusable: {problem}, " in blocks
    problem = "the model has no safetensors weights, only model.onnx, which is not read"
    assert f"org/captioner @ {COMMIT}\n    cached, but unusable: {problem}, 0.0 MB" in blocks

    (base / UNET.replace(".safetensors", ".fp16.safetensors")).write_bytes(b"weights")
    cache(hub_cache, "org/captioner", {"model.safetensors": b"weights"})
    assert main(arguments) == 0
    blocks = capsys.readouterr().out
    assert f"{base}\n    local (fp16), " in blocks
    assert f"org/captioner @ {COMMIT}\n    cached, 0.0 MB" in blocks


def test_a_hub_model_of_half_precision_alone_is_fetched(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    asked: list[list[str]] = []

    def snapshot(_repository: str, *, allow_patterns: list[str], **_options: Any) -> str:
        asked.append(allow_patterns)
        if allow_patterns == HALF_PRECISION:
            (tmp_path / "model.fp16.safetensors").touch()
        return str(tmp_path)

    def no_file(repository: str, file: str, **_options: Any) -> str:
        raise LocalEntryNotFoundError(f"{repository} has no {file}")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot)
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", no_file)
    assert fetch_folder("org/half", None) == tmp_path
    assert asked == [MODEL_FILES, HALF_PRECISION]


def test_download_without_a_connection_is_told(hub_cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    line = fails_with(capsys, "models", "sd15", "--download")
    assert "cannot fetch the model" in line or "cannot load the model" in line
    assert "stable-diffusion-v1-5/stable-diffusion-v1-5" in line
    with pytest.raises(UserError, match=r"cannot fetch the model: .*org/model@main.*give a local path"):
        fetch_folder("org/model", None)
    assert not list(hub_cache.rglob("*.safetensors"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["sample", "miniature", "--prompt", "a"], "the store holds no finished train artifact of this preset"),
        (["export", "miniature", "--format", "kohya"], "run `comat run miniature --only train`"),
        (["export", "miniature", "--format", "onnx"], "invalid choice: 'onnx'"),
        (["sample", "miniature", "--prompt", "a" * 100_000], "a prompt has more than 10,000 characters"),
        (["sample", "miniature"], "the following arguments are required: --prompt"),
    ],
)
def test_mistakes_are_told(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, arguments: list[str], message: str
) -> None:
    assert message in fails_with(capsys, *arguments, "--store", str(tmp_path / "store"))


def test_push_uploads_the_folder_and_gives_its_address(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    calls: list[tuple[Any, ...]] = []

    class FakeApi:
        def create_repo(self, repository: str, *, private: bool, exist_ok: bool) -> str:
            calls.append((repository, private, exist_ok))
            return f"https://hub/{repository}"

        def upload_folder(self, *, repo_id: str, folder_path: Path) -> None:
            calls.append((repo_id, folder_path))

    monkeypatch.setattr(huggingface_hub, "HfApi", FakeApi)
    assert push_folder(tmp_path, "me/lora", private=True) == "https://hub/me/lora"
    assert calls == [("me/lora", True, True), ("me/lora", tmp_path)]


def test_a_hub_that_does_not_answer_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    closed = partial(huggingface_hub.HfApi, endpoint="http://127.0.0.1:9", token="none")
    monkeypatch.setattr(huggingface_hub, "HfApi", closed)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    with pytest.raises(UserError, match=r"cannot push to the hub: .*me/lora.*check the connection"):
        push_folder(tmp_path, "me/lora", private=False)


@pytest.mark.usefixtures("hub_cache")
def test_push_without_a_connection_is_told(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"cannot push to the hub: .*me/lora.*hf auth login"):
        push_folder(tmp_path, "me/lora", private=False)
