"""Two processes, one process with a batch as large as both, and one that accumulates: the same training."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from stages.store.artifacts import Artifact
from stages.train import TrainConfig
from stages.train.learning.state import TENSORS, checkpoints
from stages.train.processes.job import Job
from stages.train.processes.launching import run_in_processes

STEPS = 3
TOLERANCE = 1e-4
"""Largest distance between two results, over the distance that training has moved the parameters. What remains is the
order in which float32 numbers are added up, which AdamW's first steps blow up where a gradient is almost zero."""

Parameters = dict[str, torch.Tensor]


def train(config: TrainConfig, inputs: dict[str, Artifact], folder: Path) -> Parameters:
    """Train and return every parameter that learns, of the LoRA and the discriminator, by role and name."""
    job = Job(config=config, inputs=inputs, folder=folder, run_name="run")
    if config.processes == 1:
        job.run()
    else:
        run_in_processes(job)
    tensors = load_file(checkpoints(job.checkpoint_folder)[-1] / TENSORS)
    return {name: value for name, value in tensors.items() if "/parameter/" in name}


def distance(first: Parameters, second: Parameters, role: str) -> float:
    assert first.keys() == second.keys()
    names = [name for name in first if name.startswith(role)]
    return sum((first[name] - second[name]).square().sum().item() for name in names) ** 0.5


@pytest.mark.slow
def test_processes_accumulation_and_a_large_batch_train_alike(
    make_config: Callable[..., TrainConfig], inputs: dict[str, Artifact], tmp_path: Path
) -> None:
    def result(name: str, **changes: Any) -> Parameters:
        config = make_config(**{"steps": STEPS, "checkpoints": {"every": 1}, **changes})
        return train(config, inputs, tmp_path / name)

    two_processes = result("two", processes=2, batch_size=1, pair_batch_size=1)
    large_batch = result("large", batch_size=2, pair_batch_size=2)
    accumulated = result("accumulated", batch_size=1, pair_batch_size=1, gradient_accumulation=2)
    small_batch = result("small", batch_size=1, pair_batch_size=1)
    standing_still = {"learning_rate": 1e-12}
    start = result("start", steps=1, online=standing_still, discriminator=standing_still)

    for role in ("online", "discriminator"):
        moved = distance(large_batch, start, role)
        gaps = {
            "processes, large batch": distance(two_processes, large_batch, role) / moved,
            "processes, accumulation": distance(two_processes, accumulated, role) / moved,
            "small batch, large batch": distance(small_batch, large_batch, role) / moved,
        }
        print(role, f"moved {moved:.4g};", ", ".join(f"{name}: {gap:.3g}" for name, gap in gaps.items()))
        assert gaps["processes, large batch"] < TOLERANCE
        assert gaps["processes, accumulation"] < TOLERANCE
        assert gaps["small batch, large batch"] > 100 * TOLERANCE, "the data of the second process counts"
