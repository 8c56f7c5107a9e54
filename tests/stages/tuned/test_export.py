"""What `comat export` writes: the notes that other tools choose by, and no weights that are no numbers."""

from pathlib import Path

import pytest
import torch

from comat_core.backbones.adapters import add_lora, save_lora
from comat_core.backbones.families.stable_diffusion.backbone import StableDiffusion
from comat_core.backbones.loading import load_backbone
from comat_core.backbones.lora import lora_metadata
from comat_core.backbones.lora.lora_files import StockLoraFiles
from comat_core.files.safetensors_files import read_metadata
from comat_core.support.errors import UserError
from comat_core.support.randomness import make_generator
from stages.images import ImagesConfig
from stages.plan.config import ModelReference
from stages.plan.presets import load_preset
from stages.store.store import Store
from stages.train.config import TrainConfig
from stages.train.model_card import MODEL_CARD
from stages.tuned.export import export_model
from stages.tuned.tuned_model import TunedModel
from tests.changed_checkpoints import UNET, VAE, change_weights, copy_of, without_numbers
from tests.stages.fake_run import make_artifact

LORA_FILE = StockLoraFiles.file_name
VERSIONS = [
    ("stable-diffusion-v1", "sd_v1", "False"),
    ("stable-diffusion-v2", "sd_v2", "True"),
    ("stable-diffusion-xl-v1-base", "sdxl_base_v1-0", "False"),
]


def tuned_model(
    store: Store, base: Path, folder: Path, *, source: Path | None = None, scale: float = 0.1
) -> TunedModel:
    """A training's result whose LoRA is noise, of a base whose sampling is configured as the miniature's.

    Args:
        source: the whole checkpoint that the LoRA is made for, if the base has none.
    """
    model = load_backbone(source or base)
    for index, parameter in enumerate(add_lora(model, "comat", rank=2, seed=1)):
        parameter.data = scale * torch.randn(parameter.shape, generator=make_generator(1, "trained", index))
    notes = lora_metadata.describe_lora(model, "comat", base="base", resolution=32, title="A LoRA")
    save_lora(model, folder, "comat", notes)
    (folder / MODEL_CARD).write_text("a card")
    artifact = make_artifact(store, "train", folder=folder)
    sections = load_preset("miniature", [f"models.base={base}", "images.resolution=32"]).sections
    training, sampling = sections["train"], sections["images"]
    assert isinstance(training, TrainConfig) and isinstance(sampling, ImagesConfig)
    own = sampling.model_copy(update={"vae": None, "device": "cpu", "base": ModelReference(path=str(base))})
    return TunedModel("mine", training, own, {"train": artifact})


@pytest.mark.parametrize(("architecture", "version", "v2"), VERSIONS)
def test_both_loras_say_which_base_they_are_for(
    store: Store,
    tiny_sd_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    architecture: str,
    version: str,
    v2: str,
) -> None:
    monkeypatch.setattr(StableDiffusion, "architecture", architecture)
    tuned = tuned_model(store, tiny_sd_folder, tmp_path / "lora")
    diffusers = export_model(tuned, "diffusers", tmp_path / "diffusers", "fp32") / LORA_FILE
    kohya = export_model(tuned, "kohya", tmp_path / "kohya", "fp32") / "comat-mine.safetensors"
    for file in (diffusers, kohya):
        notes = read_metadata(file)
        assert (notes["ss_base_model_version"], notes["ss_v2"]) == (version, v2)
        assert notes["modelspec.title"]
    trained = read_metadata(tmp_path / "lora" / LORA_FILE)
    assert read_metadata(diffusers) == {**trained, "ss_base_model_version": version, "ss_v2": v2}


def test_of_a_base_that_is_none_of_the_published_ones_nothing_is_said(
    store: Store, tiny_sd_folder: Path, tmp_path: Path
) -> None:
    tuned = tuned_model(store, tiny_sd_folder, tmp_path / "lora")
    for kind, name in (("diffusers", LORA_FILE), ("kohya", "comat-mine.safetensors")):
        file = export_model(tuned, kind, tmp_path / kind, "fp32") / name
        assert "ss_base_model_version" not in read_metadata(file)
    assert (tmp_path / "diffusers" / LORA_FILE).read_bytes() == (tmp_path / "lora" / LORA_FILE).read_bytes()


def test_a_merged_pipeline_with_weights_that_are_no_numbers_is_not_written(
    store: Store, tiny_sd_folder: Path, tmp_path: Path
) -> None:
    for file, part in ((UNET, "unet"), (VAE, "vae")):
        base = copy_of(tiny_sd_folder, tmp_path / f"base with {part}")
        without_numbers(base / file)
        tuned = tuned_model(store, base, tmp_path / f"lora of {part}", source=tiny_sd_folder)
        with pytest.raises(UserError, match=rf"weights of its {part} are not finite numbers, among them .*base with"):
            export_model(tuned, "merged", tmp_path / "merged", "fp32")
        assert not (tmp_path / "merged").exists()


def test_weights_that_half_precision_cannot_hold_are_not_written_in_it(
    store: Store, tiny_sd_folder: Path, tmp_path: Path
) -> None:
    base = copy_of(tiny_sd_folder, tmp_path / "base")
    change_weights(base / UNET, lambda weights: {**weights, "conv_in.bias": weights["conv_in.bias"] + 1e6})
    tuned = tuned_model(store, base, tmp_path / "lora")
    with pytest.raises(UserError, match=r"among them conv_in\.bias .*choose --precision bf16 or fp32"):
        export_model(tuned, "merged", tmp_path / "fp16", "fp16")
    assert export_model(tuned, "merged", tmp_path / "bf16", "bf16").is_dir()


@pytest.mark.parametrize("kind", ["diffusers", "kohya"])
def test_a_lora_that_is_no_numbers_is_not_written(
    kind: str, store: Store, tiny_sd_folder: Path, tmp_path: Path
) -> None:
    tuned = tuned_model(store, tiny_sd_folder, tmp_path / "lora", scale=float("nan"))
    with pytest.raises(UserError, match="weights of the LoRA are not finite numbers, among them"):
        export_model(tuned, kind, tmp_path / "out", "fp32")
    assert not (tmp_path / "out").exists()
