"""The card beside a LoRA names every model that had a say in it, by what the settings declare."""

from collections.abc import Callable
from pathlib import Path

from stages.train import TrainConfig
from stages.train.model_card import write_model_card

MakeConfig = Callable[..., TrainConfig]


def rows(config: TrainConfig) -> dict[str, str]:
    card = write_model_card(config, adapted=False, usage=()).splitlines()
    lines = [line.strip("| ").split(" | ") for line in card if "|" in line]
    return {line[0]: line[1] for line in lines}


def test_helpers_are_named_with_their_kind_and_without_the_folder_that_they_lie_in(make_config: MakeConfig) -> None:
    config = make_config()
    assert config.captioner is not None and config.segmenter is not None
    found = rows(config)
    assert found["captioner"] == f"blip: {Path(config.captioner.path).name}"
    assert found["segmenter"] == f"clipseg: {Path(config.segmenter.path).name}"
    assert found["discriminator"] == "denoiser: on the base model"


def test_all_checkpoints_of_a_helper_are_named_with_their_licences(make_config: MakeConfig) -> None:
    segmentation = {"kind": "grounded_sam", "sam": "ybelkada/segment-anything", "text_encoder": "org/bert"}
    discriminator = {"network": {"kind": "dinov2", "model": "facebook/dinov2-base"}}
    config = make_config(discriminator=discriminator).model_dump()
    config |= {"segmenter": "ShilongLiu/GroundingDINO", "segmentation": segmentation}
    found = rows(TrainConfig.model_validate(config))
    names = "ShilongLiu/GroundingDINO (Apache-2.0), ybelkada/segment-anything (Apache-2.0), org/bert"
    assert found["segmenter"] == f"grounded_sam: {names}"
    assert found["discriminator"].startswith("dinov2: facebook/dinov2-base")


def test_a_model_whose_loss_is_off_is_not_named(make_config: MakeConfig) -> None:
    found = rows(make_config(weights={"concept_activation": 0, "fidelity": 0}))
    assert not {"captioner", "discriminator"} & set(found)
    assert "segmenter" in found
