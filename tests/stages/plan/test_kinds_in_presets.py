"""Settings of several kinds: which are known, how another kind is chosen, and the line for every mistake."""

import re
from pathlib import Path
from typing import Any

import pytest

from comat_core.support.errors import UserError
from stages.models.captioners import Git
from stages.models.discriminators import Denoiser, Dinov2
from stages.models.segmenters import ClipSeg, GroundedSam
from stages.plan.config import ModelReference
from stages.plan.presets import load_preset

DINO = ModelReference(path="data://miniature/dino")


def section(name: str, *overrides: str, of: str = "train") -> Any:
    return load_preset(name, overrides).sections[of]


def test_settings_of_one_kind_are_merged_one_by_one() -> None:
    network = section("sdxl").discriminator.network
    assert isinstance(network, Denoiser)
    assert (network.rank, network.model is not None) == (128, True)
    assert section("miniature", "train.captioning.prefix=a drawing of").captioning.prefix == "a drawing of"


def test_another_kind_starts_afresh_and_leaves_what_stands_beside_it() -> None:
    assert isinstance(section("sd15").segmentation, GroundedSam)
    assert section("sd15", "train.segmentation.kind=clipseg").segmentation == ClipSeg()
    overrides = ["train.discriminator.network.kind=dinov2", "train.discriminator.network.model=data://miniature/dino"]
    discriminator = section("miniature", *overrides).discriminator
    assert discriminator.network == Dinov2(model=DINO)
    assert discriminator.learning_rate == section("miniature").discriminator.learning_rate


def test_a_preset_that_extends_another_may_choose_another_kind(tmp_path: Path) -> None:
    mine = tmp_path / "mine.yaml"
    mine.write_text(
        "extends: sd15\ntrain:\n  captioning: {kind: git}\n  segmentation: {kind: clipseg}\n"
        "  discriminator: {network: {kind: dinov2, model: data://miniature/dino}}\n"
    )
    config = section(str(mine))
    assert (config.captioning, config.segmentation) == (Git(), ClipSeg())
    assert config.discriminator.network == Dinov2(model=DINO)
    assert config.discriminator.betas == (0.0, 0.999)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (
            ["train.captioning.kind=blipp"],
            "train.captioning.kind = 'blipp' is not known .*one of: blip, git, llava, qwen2_5_vl, qwen3_vl, smolvlm$",
        ),
        (["train.captioning={prefix: a}"], "setting train.captioning.kind is missing .*one of: blip, git, llava"),
        (["train.captioning.length=3"], "unknown setting train.captioning.length .*known settings here: kind, prefix$"),
        (["train.segmentation.threshold=2"], "train.segmentation.threshold = 2 is not allowed"),
        (
            ["train.segmentation.box_threshold=0.3"],
            "unknown setting train.segmentation.box_th.*: kind, instances, threshold$",
        ),
        (["train.segmentation.kind=grounded_sam"], "setting train.segmentation.sam is missing"),
        (["train.discriminator.network.kind=dino"], "setting train.discriminator.network.model is missing"),
        (["evaluate.spatial.detector.kind=mask2former"], "one of: grounding_dino, clipseg$"),
        (
            ["evaluate.fidelity.extractors.dino.per_image=3"],
            "setting evaluate.fidelity.extractors.dino.per_image .*: kind, model$",
        ),
        (["train.tracking.validation_prompts=['']"], "train.tracking.validation_prompts.0 = '' is not allowed"),
    ],
)
def test_a_mistake_is_told_by_the_name_that_the_preset_writes(overrides: list[str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        load_preset("miniature", overrides)


@pytest.mark.parametrize(
    ("old", "known"),
    [
        ("train.discriminator.kind=dinov2", "network"),
        ("train.discriminator.rank=16", "network"),
        ("train.discriminator.model=org/model", "network"),
        ("evaluate.sensitivity.kind=git", "captioning"),
        ("evaluate.sensitivity.prefix=a", "captioning"),
    ],
)
def test_where_a_kind_used_to_stand_the_error_names_its_new_place(old: str, known: str) -> None:
    name = re.escape(old.partition("=")[0])
    with pytest.raises(UserError, match=rf"unknown setting {name} .*known settings here: .*\b{known}\b"):
        load_preset("miniature", [old])


def test_the_old_form_of_genevals_detector_is_told_too() -> None:
    with pytest.raises(UserError, match=r"setting evaluate\.geneval\.detector\.kind .*here: network, checkpoint"):
        load_preset("sd15", ["evaluate.geneval.detector.kind=clipseg"])
