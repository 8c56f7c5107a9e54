"""Trainings under a brake of tiny judges, and judges whose verdicts a test writes down."""

from collections.abc import Callable
from typing import Any

import pytest

from comat_core.training.brake import Evaluation, Measurement
from stages.train import TrainConfig
from stages.train.brake.examination import Examiner
from tests.tiny_captioners import save_tiny_git, save_tiny_question_answerer
from tests.tiny_clip import save_tiny_clip

MakeConfig = Callable[..., TrainConfig]
ONE_LOSS = {"attribute_region": 0, "attribute_pixel": 0, "fidelity": 0}

Verdicts = dict[tuple[int, bool], tuple[float, float]]
"""(step, averaged) -> gain, ratio."""


@pytest.fixture(scope="session")
def judges(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Folder of each model."""
    folder = tmp_path_factory.mktemp("judges")
    return {
        "vqa": save_tiny_question_answerer(folder / "vqa"),
        "git": save_tiny_git(folder / "git"),
        "clip": save_tiny_clip(folder / "clip"),
    }


@pytest.fixture
def make_braked(make_config: MakeConfig, judges: dict[str, str]) -> MakeConfig:
    """A config with one loss and a brake after every step; `brake` replaces some of the brake's settings."""

    def make(*, brake: dict[str, Any] | None = None, **changes: Any) -> TrainConfig:
        settings = {
            "every": 1,
            "prompts": 3,
            "judges": {"vqa": {"kind": "yes_to_prompt", "model": judges["vqa"]}},
            "distances": {"clip": {"kind": "pooled", "model": judges["clip"]}},
        }
        tracking = {"validation_every": 0, "images_every": 0}
        return make_config(
            **{"weights": ONE_LOSS, "tracking": tracking, **changes}, brake={**settings, **(brake or {})}
        )

    return make


@pytest.fixture
def judged_as(monkeypatch: pytest.MonkeyPatch) -> Callable[[Verdicts], None]:
    """Let the judges say what is written down."""

    def write_down(verdicts: Verdicts) -> None:
        def evaluate(_examiner: Examiner, step: int, base: Measurement, *, averaged: bool) -> Evaluation:
            gain, ratio = verdicts[step, averaged]
            return Evaluation(
                step=step, averaged=averaged, scores=base.scores, distances=base.distances, gain=gain, ratio=ratio
            )

        base = Measurement(scores={"vqa": 0.0}, deviations={"vqa": 1.0}, counts={"vqa": 3}, distances={"clip": 1.0})
        monkeypatch.setattr(Examiner, "measure_base", lambda _examiner: base)
        monkeypatch.setattr(Examiner, "evaluate", evaluate)

    return write_down
