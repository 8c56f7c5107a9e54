"""Trainings that are killed in the middle and run again."""

from collections.abc import Callable
from typing import Any

import pytest

import stages.train.loop as loop_module
from stages.store.artifacts import Artifact
from stages.store.store import Store
from stages.train import TrainConfig, run


def run_killed_once(
    config: TrainConfig,
    inputs: dict[str, Artifact],
    store: Store,
    *,
    in_step: int,
    look: Callable[[Any], None] = lambda _state: None,
) -> tuple[Artifact, list[int]]:
    """Run a training that is killed as it begins a step, and run it again.

    Args:
        look: is called with the training's state at that moment.

    Returns:
        What the second run made, and the steps that both began.
    """
    original, begun = loop_module.online_step, []

    def step(training_run: Any, state: Any) -> Any:
        begun.append(state.step)
        if state.step == in_step and begun.count(in_step) == 1:
            look(state)
            raise KeyboardInterrupt
        return original(training_run, state)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop_module, "online_step", step)
        with pytest.raises(KeyboardInterrupt):
            run(config, inputs, store)
        return run(config, inputs, store), begun
