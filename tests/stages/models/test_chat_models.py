"""Chat models by the settings of captioners and rewards: loaded, listed, and asked for their sensitivity."""

from pathlib import Path

import pytest
import torch
from pydantic import TypeAdapter

from comat_core.captioners.chat import ChatCaptioner
from comat_core.scorers.chat_answers import ChatAnswerer
from stages.evaluate.scoring.images.captioned_images import CaptionedImages
from stages.evaluate.sensitivity import SensitivityConfig, real_images, score_images
from stages.models.captioners import AnyCaptioner
from stages.models.needed_models import needed_models
from stages.models.rewards import RewardSurroundings
from stages.models.rewards.prompt_answers import YesToPromptSettings
from stages.plan.config import ModelReference
from stages.plan.presets import load_preset
from tests.tiny_chat_models import SAVERS

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    root: Path = tmp_path_factory.mktemp("chat_models")
    return {kind: save(root / kind) for kind, save in SAVERS.items()}


@pytest.mark.parametrize("kind", SAVERS)
def test_the_sensitivity_of_each_is_measured(kind: str, folders: dict[str, str]) -> None:
    config = SensitivityConfig(
        captioner=ModelReference(path=folders[kind]),
        captioning=TypeAdapter(AnyCaptioner).validate_python({"kind": kind, "prefix": "", "instruction": "Tell."}),
        real=CaptionedImages(count=2),
        seed=1,
        resolution=64,
        device="cpu",
    )
    captioner = config.captioning.load(config.captioner, dtype=torch.float32, device="cpu")
    assert isinstance(captioner, ChatCaptioner)
    rows = score_images(*real_images(config, 0), captioner, config)
    images, wordings = real_images(config, 0)
    assert len(rows) == sum(len(wordings[image.prompt_id].corrupted) for image in images) > 0
    assert all(row["log_probability"] < 0 and row["sensitivity"] != 0 for row in rows)


@pytest.mark.parametrize("kind", SAVERS)
def test_a_reward_asks_it(kind: str, folders: dict[str, str]) -> None:
    settings = YesToPromptSettings.model_validate({"model": folders[kind], "chat": kind})
    reward = settings.load(RewardSurroundings(None, torch.float32, CPU))
    assert isinstance(reward.answerer, ChatAnswerer)
    assert reward.prepare(["a red dog"], CPU)(torch.rand(1, 3, 40, 40)).shape == (1,)


def test_where_no_chat_model_is_named_keys_stay_as_they_were() -> None:
    rewards = "train.rewards={shown: {kind: yes_to_prompt, model: org/vqa}}"
    payload = load_preset("miniature", [rewards]).sections["train"].key_payload()
    assert set(payload["rewards"]["shown"]) == {"kind", "model", "question", "weight"}


def test_published_ones_are_listed_with_their_licence() -> None:
    preset = load_preset(
        "miniature", ["models.captioner=Qwen/Qwen3-VL-4B-Instruct", "train.captioning={kind: qwen3_vl}"]
    )
    captioner = next(model for model in needed_models([preset]) if model.name == "Qwen/Qwen3-VL-4B-Instruct")
    assert captioner.licence == "Apache-2.0"
    assert "train.captioner" in captioner.roles
