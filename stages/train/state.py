"""The state that a training run resumes from: what it holds, and how it is saved without ever looking half-finished.

Random numbers are not part of it: they are derived from the seed and the step.
"""

import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import nn

from stages.train.models import Trainee

MARKER = "state.json"
"""Written last: a checkpoint without it does not count."""
TENSORS = "state.safetensors"
FOLDER_PREFIX = "step-"


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

    def save(self, folder: Path, *, keep: int) -> None:
        """Save a checkpoint below `folder`, then remove all but the last `keep` ones."""
        target = folder / f"{FOLDER_PREFIX}{self.step:07d}"
        unfinished = folder / f".{target.name}"
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir(parents=True)
        save_file(self._tensors(), unfinished / TENSORS)
        (unfinished / MARKER).write_text(json.dumps(self._numbers()))
        for name in (TENSORS, MARKER):
            _flush(unfinished / name)
        if target.exists():
            shutil.rmtree(target)
        unfinished.replace(target)
        for old in checkpoints(folder)[:-keep]:
            shutil.rmtree(old)

    def restore_latest(self, folder: Path) -> bool:
        """Go back to the newest checkpoint below `folder`; returns whether there is one."""
        found = checkpoints(folder)
        if not found:
            return False
        numbers = json.loads((found[-1] / MARKER).read_text())
        tensors = load_file(found[-1] / TENSORS)
        for role, parameters, optimizer in self._roles():
            _restore_parameters(parameters, tensors, role)
            _restore_optimizer(optimizer, list(parameters), tensors, role)
        if numbers["scaler"]:
            self.scaler.load_state_dict(numbers["scaler"])
        self.step, self.skipped = numbers["step"], numbers["skipped"]
        self.skipped_in_a_row, self.history = numbers["skipped_in_a_row"], numbers["history"]
        return True

    def _roles(self) -> list[tuple[str, dict[str, nn.Parameter], torch.optim.Optimizer]]:
        trainee = self.trainee
        roles: list[tuple[str, dict[str, nn.Parameter], torch.optim.Optimizer]] = [
            ("online", trainee.online, trainee.online_optimizer)
        ]
        if trainee.discriminator_optimizer is not None:
            roles.append(("discriminator", trainee.discriminator, trainee.discriminator_optimizer))
        return roles

    def _tensors(self) -> dict[str, torch.Tensor]:
        tensors = {}
        for role, parameters, optimizer in self._roles():
            for name, parameter in parameters.items():
                tensors[f"{role}/parameter/{name}"] = parameter.detach().contiguous()
                for quantity, value in optimizer.state.get(parameter, {}).items():
                    tensors[f"{role}/{quantity}/{name}"] = torch.as_tensor(value).detach().contiguous()
        return tensors

    def _numbers(self) -> dict[str, Any]:
        return {
            "step": self.step,
            "skipped": self.skipped,
            "skipped_in_a_row": self.skipped_in_a_row,
            "history": self.history,
            "scaler": self.scaler.state_dict(),
        }


def checkpoints(folder: Path) -> list[Path]:
    """Finished checkpoints below a folder, oldest first."""
    return sorted(path.parent for path in folder.glob(f"{FOLDER_PREFIX}*/{MARKER}"))


def _flush(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())


@torch.no_grad()
def _restore_parameters(parameters: Mapping[str, nn.Parameter], tensors: Mapping[str, torch.Tensor], role: str) -> None:
    for name, parameter in parameters.items():
        parameter.copy_(tensors[f"{role}/parameter/{name}"])


def _restore_optimizer(
    optimizer: torch.optim.Optimizer, names: list[str], tensors: Mapping[str, torch.Tensor], role: str
) -> None:
    """Optimisers keep their state by the parameter's position; the checkpoint keeps it by the parameter's name."""
    position = {name: index for index, name in enumerate(names)}
    state: dict[int, dict[str, torch.Tensor]] = {}
    for key, value in tensors.items():
        owner, quantity, name = key.split("/", 2)
        if owner == role and quantity != "parameter":
            state.setdefault(position[name], {})[quantity] = value
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
