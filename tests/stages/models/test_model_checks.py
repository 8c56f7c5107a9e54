"""Models whose files cannot be used are told before a run, with the setting that names them."""

import logging
from collections.abc import Callable
from pathlib import Path

import pytest

from comat_core.support.errors import UserError
from stages.models.model_checks import check_folder, check_models
from stages.models.model_references import (
    Checkpoint,
    ImageFolder,
    SpacyPipeline,
    Use,
    Vae,
    image_folders,
    named_models,
    spacy_pipelines,
)
from stages.plan.config import ModelReference, StageConfig
from stages.plan.pipeline import fetch_files, make_plan
from stages.plan.presets import load_preset
from stages.store.store import Store
from tests.changed_checkpoints import UNET, VAE, change_json, copy_of, in_half_precision_alone, pickled_alone

MINIATURE = Path(ModelReference(path="data://miniature").resolve())


def check(store: Store, *settings: str, only: str = "latents") -> None:
    plan = make_plan(load_preset("miniature", settings).sections)
    wanted = plan.wanted([only])
    fetch_files(plan, wanted, set(), store)


def renamed_to_edm(base: Path) -> None:
    change_json(base / "model_index.json", scheduler=["diffusers", "EDMDPMSolverMultistepScheduler"])


def with_own_code(base: Path) -> None:
    change_json(base / "model_index.json", unet=["mine", "Net"])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda base: pickled_alone(base / UNET), r"its unet has no safetensors weights, only diffusion_pytorch_model"),
        (lambda base: (base / VAE).unlink(), r"its vae has no safetensors weights \("),
        (lambda base: (base / "model_index.json").unlink(), r"there is no model_index\.json"),
        (renamed_to_edm, "its scheduler is EDMDPMSolverMultistepScheduler"),
        (with_own_code, r"its unet is mine\.Net, which is no part of diffusers or transformers"),
    ],
)
def test_a_base_that_cannot_be_used_is_told_before_the_run_with_its_setting(
    store: Store, tmp_path: Path, change: Callable[[Path], object], message: str
) -> None:
    base = copy_of(MINIATURE / "base", tmp_path / "base")
    check(store, f"models.base={base}")
    change(base)
    with pytest.raises(UserError, match=rf"{message}.*, the setting (entities|latents)\.base\)"):
        check(store, f"models.base={base}")


def test_only_models_of_steps_that_are_to_be_built_are_looked_at(store: Store, tmp_path: Path) -> None:
    captioner = copy_of(MINIATURE / "captioner", tmp_path / "captioner")
    (captioner / "model.safetensors").unlink()
    check(store, f"models.captioner={captioner}", only="latents")
    with pytest.raises(UserError, match=r"the model has no safetensors weights .*the setting train\.captioner"):
        check(store, f"models.captioner={captioner}", only="train")


def test_a_single_models_pickled_weights_are_read_as_before(tmp_path: Path) -> None:
    captioner = copy_of(MINIATURE / "captioner", tmp_path / "captioner")
    pickled_alone(captioner / "model.safetensors")
    assert check_folder(captioner, Use.NETWORK) is None


def test_weights_in_half_precision_alone_are_said(
    store: Store, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    base = copy_of(MINIATURE / "base", tmp_path / "base")
    in_half_precision_alone(base / UNET)
    with caplog.at_level(logging.INFO, "comat"):
        check(store, f"models.base={base}")
    assert f"latents.base: {base} has weights of the variant fp16 alone" in caplog.text


def test_an_autoencoder_that_is_replaced_may_be_missing(tmp_path: Path) -> None:
    base = copy_of(MINIATURE / "base", tmp_path / "base")
    (base / VAE).unlink()
    assert check_folder(base, Use.CHECKPOINT, {"vae"}) is None
    with pytest.raises(UserError, match="its vae has no safetensors weights"):
        check_folder(base, Use.CHECKPOINT)


def test_a_folder_that_holds_no_model_is_told(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"there is no config\.json"):
        check_folder(tmp_path, Use.NETWORK)
    with pytest.raises(UserError, match=r"there is no model_index\.json"):
        check_folder(tmp_path, Use.PIPELINE)


class Whatever(StageConfig):
    """Settings whose names say nothing of what they are."""

    source: Checkpoint
    reader: SpacyPipeline = "some_parser"
    further: ModelReference
    decoder: Vae = None
    pictures: ImageFolder = None


def test_what_a_setting_is_follows_from_its_declaration_not_its_name(tmp_path: Path) -> None:
    base = copy_of(MINIATURE / "base", tmp_path / "base")
    pictures = ModelReference(path=str(tmp_path))
    config = Whatever(source=ModelReference(path=str(base)), further=pictures, pictures=pictures)
    assert [named.setting for named in named_models(config, "x")] == ["x.source", "x.further"]
    assert list(image_folders(config, "x")) == [("x.pictures", pictures)]
    assert list(spacy_pipelines(config, "x")) == [("x.reader", "some_parser")]
    with pytest.raises(UserError, match=r"there is no config\.json .*the setting x\.further"):
        check_models(config, "x")
    (base / VAE).unlink()
    alone = config.model_copy(update={"further": ModelReference(path="org/elsewhere")})
    with pytest.raises(UserError, match=r"its vae has no safetensors weights .*the setting x\.source"):
        check_models(alone, "x")
    check_models(alone.model_copy(update={"decoder": ModelReference(path="org/decoder")}), "x")
