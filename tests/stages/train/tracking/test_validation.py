"""Validation images: the same prompts and noise each time, and no influence on the training."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

import stages.train.loop as loop_module
from stages.store.artifacts import Artifact
from stages.store.store import Store
from stages.train import TrainConfig, run
from stages.train.tracking.reporting import Reporter
from tests.stages.train.conftest import PROMPTS

MakeConfig = Callable[..., TrainConfig]


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> dict[int, Tensor]:
    """Validation images by step, as the reporter gets them."""
    images: dict[int, Tensor] = {}
    original = Reporter.pictures

    def pictures(self: Reporter, name: str, step: int, pixels: Tensor) -> None:
        original(self, name, step, pixels)
        if name == "validation":
            images[step] = pixels

    monkeypatch.setattr(Reporter, "pictures", pictures)
    return images


def test_prompts_and_noise_stay_and_the_model_changes(
    make_config: MakeConfig, inputs: dict[str, Artifact], tmp_path: Path, drawn: dict[int, Tensor]
) -> None:
    run(make_config(steps=2), inputs, Store(str(tmp_path / "one")))
    first = dict(drawn)
    assert sorted(first) == [0, 2]
    assert first[0].shape[0] == len(PROMPTS)
    assert not torch.equal(first[0], first[2]), "training shows"
    chosen = {"validation_prompts": PROMPTS[:2]}
    run(make_config(steps=2, online={"learning_rate": 1e-2}, tracking=chosen), inputs, Store(str(tmp_path / "two")))
    torch.testing.assert_close(drawn[0], first[0][:2], msg="other settings, and yet the same start")


def test_drawing_them_does_not_change_the_training(
    make_config: MakeConfig, inputs: dict[str, Artifact], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_images = run(make_config(steps=2), inputs, Store(str(tmp_path / "with")))
    monkeypatch.delattr(loop_module, "draw_validation_images")
    config = make_config(steps=2, tracking={"validation_every": 0})
    assert run(config, inputs, Store(str(tmp_path / "without"))).manifest.digest == with_images.manifest.digest
