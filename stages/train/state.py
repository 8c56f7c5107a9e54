"""The state that a training run resumes from: what it holds, and how it is saved without ever looking half-finished.

The step is the position in the data too: which prompts and pairs a step sees, and every random number of the project,
are derived from the seed and the step.
"""

import json
import logging
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

from stages.store.local_disk import disk_errors_told
from stages.train.models import Learner, Trainee

logger = logging.getLogger("comat")

MARKER = "state.json"
"""Written last: a checkpoint without it does not count."""
TENSORS = "state.safetensors"
NUMBERS = ("step", "skipped", "skipped_in_a_row", "history", "scaler", "optimizers", "schedules")
FOLDER_PREFIX = "step-"
RANDOM = "random/"
"""Prefix of the tensors with the processes' global random generators."""


@dataclass
class TrainingState:
    """Everything that changes from step to step."""

    trainee: Trainee
    scaler: torch.amp.GradScaler
    step: int = 0
    """Optimiser steps taken, skipped ones included."""
    skipped: int = 0
    """Steps skipped because a loss or gradient was not finite."""
    skipped_in_a_row: int = 0
    history: list[dict[str, float]] = field(default_factory=list)
    """One row of metrics per step."""

    def save(self, folder: Path, random_states: Mapping[str, torch.Tensor], *, keep: int) -> None:
        """Save a checkpoint below `folder`, then remove all but the last `keep` ones.

        Args:
            random_states: of the processes' global generators (`random_states`), kept for whoever resumes.

        Raises:
            UserError: it cannot be written, on a full disk for example. The checkpoints before it stay.
        """
        target = folder / f"{FOLDER_PREFIX}{self.step:07d}"
        unfinished = folder / f".{target.name}"
        shutil.rmtree(unfinished, ignore_errors=True)
        with disk_errors_told("checkpoint", target, "free some space; the same command goes on from the last one"):
            try:
                self._write(unfinished, random_states)
                if target.exists():
                    shutil.rmtree(target)
                unfinished.replace(target)
            except (OSError, SafetensorError):
                shutil.rmtree(unfinished, ignore_errors=True)  # half a checkpoint would keep the disk full
                raise
        for old in checkpoints(folder)[:-keep]:
            shutil.rmtree(old)

    def _write(self, folder: Path, random_states: Mapping[str, torch.Tensor]) -> None:
        folder.mkdir(parents=True)
        generators = {f"{RANDOM}{name}": value for name, value in random_states.items()}
        save_file(self._tensors() | generators, folder / TENSORS)
        (folder / MARKER).write_text(json.dumps(self._numbers()))
        for name in (TENSORS, MARKER):
            _flush(folder / name)

    def restore_latest(self, folder: Path) -> dict[str, torch.Tensor] | None:
        """Go back to the newest checkpoint below `folder` that can be read, and say so if it is not the newest.

        Returns:
            The random states that were saved with it; None if there is no checkpoint.
        """
        for checkpoint in reversed(checkpoints(folder)):
            try:
                numbers, tensors = _read_checkpoint(checkpoint)
            except (OSError, ValueError, RecursionError, SafetensorError) as error:
                logger.warning("the checkpoint %s cannot be read (%s): trying the one before", checkpoint, error)
                continue
            return self._restore(numbers, tensors)
        return None

    def _restore(self, numbers: dict[str, Any], tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        generators = {name: tensors.pop(name) for name in list(tensors) if name.startswith(RANDOM)}
        for role, learner in self._learners().items():
            _restore_parameters(learner.parameters, tensors, role)
            _restore_optimizer(learner, tensors, role, numbers["optimizers"][role])
            learner.schedule.load_state_dict(numbers["schedules"][role])
        if numbers["scaler"]:
            self.scaler.load_state_dict(numbers["scaler"])
        self.step, self.skipped = numbers["step"], numbers["skipped"]
        self.skipped_in_a_row, self.history = numbers["skipped_in_a_row"], numbers["history"]
        return {name.removeprefix(RANDOM): value for name, value in generators.items()}

    def _learners(self) -> dict[str, Learner]:
        learners = {"online": self.trainee.online, "discriminator": self.trainee.discriminator}
        return {role: learner for role, learner in learners.items() if learner is not None}

    def _tensors(self) -> dict[str, torch.Tensor]:
        tensors = {}
        for role, learner in self._learners().items():
            for name, parameter in learner.parameters.items():
                tensors[f"{role}/parameter/{name}"] = parameter.detach().contiguous()
                for quantity, value in learner.optimizer.state.get(parameter, {}).items():
                    # Cloned because 8-bit optimisers share tables between parameters, which safetensors refuses.
                    tensors[f"{role}/{quantity}/{name}"] = torch.as_tensor(value).detach().clone().contiguous()
        return tensors

    def _numbers(self) -> dict[str, Any]:
        return {
            "step": self.step,
            "skipped": self.skipped,
            "skipped_in_a_row": self.skipped_in_a_row,
            "history": self.history,
            "scaler": self.scaler.state_dict(),
            "optimizers": {
                role: learner.optimizer.state_dict()["param_groups"] for role, learner in self._learners().items()
            },
            "schedules": {role: learner.schedule.state_dict() for role, learner in self._learners().items()},
        }


def checkpoints(folder: Path) -> list[Path]:
    """Finished checkpoints below a folder, oldest first."""
    return sorted(path.parent for path in folder.glob(f"{FOLDER_PREFIX}*/{MARKER}"))


def _read_checkpoint(folder: Path) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
    """Numbers and tensors of a checkpoint.

    Raises:
        OSError, ValueError, SafetensorError: it is damaged.
    """
    numbers = json.loads((folder / MARKER).read_text())
    if not isinstance(numbers, dict) or not set(NUMBERS) <= set(numbers):
        raise ValueError(f"{MARKER} lacks some of {', '.join(NUMBERS)}")
    return numbers, load_file(folder / TENSORS)


def _flush(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())


@torch.no_grad()
def _restore_parameters(parameters: Mapping[str, nn.Parameter], tensors: Mapping[str, torch.Tensor], role: str) -> None:
    for name, parameter in parameters.items():
        parameter.copy_(tensors[f"{role}/parameter/{name}"])


def _restore_optimizer(
    learner: Learner, tensors: Mapping[str, torch.Tensor], role: str, groups: list[dict[str, Any]]
) -> None:
    """Optimisers keep their state by the parameter's position; the checkpoint keeps it by the parameter's name.

    Args:
        groups: the optimiser's settings, with the learning rate as it stood.
    """
    position = {name: index for index, name in enumerate(learner.parameters)}
    state: dict[int, dict[str, torch.Tensor]] = {}
    for key, value in tensors.items():
        owner, quantity, name = key.split("/", 2)
        if owner == role and quantity != "parameter":
            state.setdefault(position[name], {})[quantity] = value
    learner.optimizer.load_state_dict({"state": state, "param_groups": groups})
