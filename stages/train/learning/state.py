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
from pydantic import BaseModel
from safetensors import SafetensorError
from safetensors.torch import load, load_file, save, save_file
from torch import nn

from comat_core.files.regular_files import read_file
from comat_core.support.errors import UserError, first_line
from comat_core.training.question_failures import QuestionFailures
from comat_core.training.reward_strengths import RewardStrengths
from stages.plan.digests import digest_file
from stages.store.local_disk import disk_errors_told
from stages.train.brake.record import BrakeRecord
from stages.train.learning.averages import put_in
from stages.train.models import Learner, Trainee

logger = logging.getLogger("comat")

MARKER = "state.json"
"""Written last: a checkpoint without it does not count."""
LARGEST_MARKER = 2**32  # bytes; it holds a row of metrics for every step
TENSORS = "state.safetensors"
FOLDER_PREFIX = "step-"
RANDOM = "random/"
"""Prefix of the tensors with the processes' global random generators."""
AVERAGE, BEST = "average/parameter/", "best/parameter/"
"""Prefixes of the tensors with other values of the online model's parameters."""


class Numbers(BaseModel):
    """What the marker of a checkpoint holds."""

    step: int
    skipped: int
    skipped_in_a_row: int
    history: list[dict[str, Any]]
    scaler: dict[str, Any]
    optimizers: dict[str, list[dict[str, Any]]]
    schedules: dict[str, dict[str, Any]]
    tensors: str | None = None
    """Digest of the tensors' file; checkpoints of earlier versions have none."""
    brake: BrakeRecord | None = None
    strengths: RewardStrengths | None = None
    failures: QuestionFailures | None = None


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
    average: dict[str, torch.Tensor] | None = None
    """Moving average of the online model's parameters; None if none is kept."""
    brake: BrakeRecord | None = None
    """What the brake has found; None without one."""
    strengths: RewardStrengths | None = None
    """How hard the rewards pull that are brought to each other's size; None if none is."""
    failures: QuestionFailures | None = None
    """How often questions fail that weigh by it; None if none do."""
    best: dict[str, torch.Tensor] | None = None
    """Parameters of the evaluation that the brake holds for the best so far. They stand in every checkpoint, so that
    they stay however many of those are removed."""

    def put_in_delivered(self) -> None:
        """Give the online model the parameters that are delivered: the best or averaged ones if there are any."""
        values = self.average if self.best is None else self.best
        if values is not None:
            put_in(values, self.trainee.online.parameters)

    def save(self, folder: Path, random_states: Mapping[str, torch.Tensor], *, keep: int) -> None:
        """Save a checkpoint below `folder`, then remove all but the last `keep` ones up to it.

        Those of later steps go too: they could not be read, or this one would not have been made.

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
        found = checkpoints(folder)
        kept = [path for path in found if path.name <= target.name][-keep:]
        for path in found:
            if path not in kept:
                shutil.rmtree(path)

    def _write(self, folder: Path, random_states: Mapping[str, torch.Tensor]) -> None:
        folder.mkdir(parents=True)
        generators = {f"{RANDOM}{name}": value for name, value in random_states.items()}
        save_file(self._tensors() | generators, folder / TENSORS)
        numbers = self._numbers(digest_file(folder / TENSORS))
        (folder / MARKER).write_text(json.dumps(numbers.model_dump()))
        for name in (TENSORS, MARKER):
            _flush(folder / name)

    def restore_latest(self, folder: Path, *, tell: bool = True) -> dict[str, torch.Tensor] | None:
        """Go back to the newest checkpoint below `folder` that is whole.

        Args:
            tell: of newer ones that are damaged.

        Returns:
            The random states that were saved with it; None if there is no checkpoint.
        """
        damage = []
        for path in reversed(checkpoints(folder)):
            try:
                numbers, tensors = self._read(path)
            except (UserError, ValueError, RecursionError, OSError, SafetensorError) as error:
                damage.append(f"checkpoint {path.name} is damaged ({first_line(error)})")
                continue
            _tell(damage, f"training goes on from {path.name}", tell=tell)
            return self._restore(numbers, tensors)
        _tell(damage, "there is no older one, and training begins anew", tell=tell)
        return None

    def pack(self, random_states: Mapping[str, torch.Tensor]) -> bytes:
        """The state with the processes' random states, for other processes of the same training."""
        generators = {f"{RANDOM}{name}": value for name, value in random_states.items()}
        numbers = json.dumps(self._numbers("").model_dump()).encode()
        return len(numbers).to_bytes(8) + numbers + save(self._tensors() | generators)

    def unpack(self, packed: bytes) -> dict[str, torch.Tensor]:
        """Take over what `pack` made of the same training's state, and return its random states."""
        start = 8 + int.from_bytes(packed[:8])
        numbers = Numbers.model_validate(json.loads(packed[8:start]))
        return self._restore(numbers, load(packed[start:]))

    def _read(self, folder: Path) -> tuple[Numbers, dict[str, torch.Tensor]]:
        """Read a checkpoint, before any of it is put to use.

        Raises:
            UserError, ValueError, RecursionError, OSError, SafetensorError: it is not what such a state has written.
        """
        numbers = Numbers.model_validate(json.loads(read_file(folder / MARKER, "marker", limit=LARGEST_MARKER)))
        if numbers.tensors is not None and digest_file(folder / TENSORS) != numbers.tensors:
            raise ValueError(f"{TENSORS} has other content than when it was written")
        tensors = load_file(folder / TENSORS)
        roles = self._learners()
        shapes = {name: value.shape for name, value in self._tensors().items() if name.split("/")[1] == "parameter"}
        if roles.keys() != numbers.optimizers.keys() or roles.keys() != numbers.schedules.keys():
            raise ValueError(f"{MARKER} is of other learners")
        if any(name not in tensors or tensors[name].shape != shape for name, shape in shapes.items()):
            raise ValueError(f"{TENSORS} is of other parameters")
        has_best = numbers.brake is not None and numbers.brake.evaluations != []
        if (numbers.brake is None) != (self.brake is None) or has_best != any(
            name.startswith(BEST) for name in tensors
        ):
            raise ValueError(f"{MARKER} is of another brake")
        kept, own = (numbers.strengths, numbers.failures), (self.strengths, self.failures)
        if [one is None for one in kept] != [one is None for one in own]:
            raise ValueError(f"{MARKER} is of other rewards")
        return numbers, tensors

    def _restore(self, numbers: Numbers, tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        generators = {name: tensors.pop(name) for name in list(tensors) if name.startswith(RANDOM)}
        for role, learner in self._learners().items():
            _restore_parameters(learner.parameters, tensors, role)
            _restore_optimizer(learner, tensors, role, numbers.optimizers[role])
            learner.schedule.load_state_dict(numbers.schedules[role])
        if numbers.scaler:
            self.scaler.load_state_dict(numbers.scaler)
        self.step, self.skipped = numbers.step, numbers.skipped
        self.skipped_in_a_row, self.history = numbers.skipped_in_a_row, numbers.history
        self.strengths, self.failures = numbers.strengths, numbers.failures
        self.average = _taken(tensors, AVERAGE, self.trainee.online)
        self.brake, self.best = numbers.brake, _taken(tensors, BEST, self.trainee.online)
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
        for prefix, values in ((AVERAGE, self.average), (BEST, self.best)):
            tensors |= {f"{prefix}{name}": value.contiguous() for name, value in (values or {}).items()}
        return tensors

    def _numbers(self, tensors: str) -> Numbers:
        return Numbers(
            step=self.step,
            skipped=self.skipped,
            skipped_in_a_row=self.skipped_in_a_row,
            history=self.history,
            scaler=self.scaler.state_dict(),
            optimizers={
                role: learner.optimizer.state_dict()["param_groups"] for role, learner in self._learners().items()
            },
            schedules={role: learner.schedule.state_dict() for role, learner in self._learners().items()},
            tensors=tensors,
            brake=self.brake,
            strengths=self.strengths,
            failures=self.failures,
        )


def checkpoints(folder: Path) -> list[Path]:
    """Finished checkpoints below a folder, oldest first."""
    return sorted(path.parent for path in folder.glob(f"{FOLDER_PREFIX}*/{MARKER}"))


def _tell(damage: list[str], what_now: str, *, tell: bool) -> None:
    if damage and tell:
        logger.warning("%s: %s", "; ".join(damage), what_now)


def _flush(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())


def _taken(tensors: Mapping[str, torch.Tensor], prefix: str, online: Learner) -> dict[str, torch.Tensor] | None:
    """The tensors of a prefix by the parameters' names, on their device; None if there are none."""
    taken = {
        name: tensors[f"{prefix}{name}"].to(parameter.device)
        for name, parameter in online.parameters.items()
        if f"{prefix}{name}" in tensors
    }
    return taken or None


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
