"""The global random generators of every process go on where the checkpoint has them."""

import random
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from accelerate import Accelerator

import stages.train.loop as loop_module
from stages.store.artifacts import Artifact
from stages.store.store import Store
from stages.train import TrainConfig, run
from stages.train.learning.random_states import gather_random_states, restore_random_states


def draw() -> list[float]:
    """One number from each generator; Python's and NumPy's normal numbers come in pairs, of which one is kept back."""
    return [torch.rand(()).item(), random.random(), random.gauss(), np.random.rand(), float(np.random.normal())]


def test_each_process_gets_its_own_generators_back() -> None:
    accelerator = Accelerator(cpu=True)
    rows, expected = [], []
    for _ in range(2):
        draw()  # leaves a normal number kept back in the first state and none in the second
        rows.append(gather_random_states(accelerator))
        expected.append(draw())
    states = {name: torch.cat([row[name] for row in rows]) for name in rows[0]}
    for process in (1, 0):
        second: Any = SimpleNamespace(process_index=process, device=torch.device("cpu"))
        restore_random_states(states, second)
        assert draw() == expected[process]


def test_a_run_begun_without_a_gpu_goes_on_with_one() -> None:
    states = gather_random_states(Accelerator(cpu=True))
    expected = draw()
    on_gpu: Any = SimpleNamespace(process_index=0, device=torch.device("cuda"))
    restore_random_states(states, on_gpu)
    assert draw() == expected


def test_a_resumed_run_draws_from_the_global_generators_what_an_undisturbed_one_draws(
    make_config: Callable[..., TrainConfig],
    inputs: dict[str, Artifact],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    config = make_config(steps=4, checkpoints={"every": 2})
    original, calls = loop_module.online_step, []

    def moved_by_chance(training_run: Any, state: Any) -> Any:
        calls.append(state.step)
        if calls[-1] == 3 and len(calls) == die_at:
            raise KeyboardInterrupt
        # Not Python's generator: other threads of the process draw from it too, those that serve Prefect among them.
        shift = torch.rand(()).item() + np.random.rand() + float(np.random.normal())
        with torch.no_grad():
            for parameter in state.trainee.online.parameters.values():
                parameter += shift
        return original(training_run, state)

    monkeypatch.setattr(loop_module, "online_step", moved_by_chance)
    die_at = 0
    seed_all(1)
    undisturbed = run(config, inputs, Store(str(tmp_path / "undisturbed")))
    calls.clear()
    die_at = 4
    seed_all(1)
    with pytest.raises(KeyboardInterrupt):
        run(config, inputs, Store(str(tmp_path / "disturbed")))
    seed_all(2)
    assert run(config, inputs, Store(str(tmp_path / "disturbed"))).manifest.digest == undisturbed.manifest.digest
    assert calls == [0, 1, 2, 3, 2, 3]


def seed_all(seed: int) -> None:
    torch.manual_seed(seed)
    random.seed(seed)
    np.random.seed(seed)
