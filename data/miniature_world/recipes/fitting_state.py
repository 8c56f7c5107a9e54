"""What a killed fitting goes on from: one file per fitted module, when a folder for them is named."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

_folder: ContextVar[Path | None] = ContextVar("folder of the states", default=None)


@contextmanager
def saved_below(folder: Path | None) -> Iterator[None]:
    """Let every `fit` inside save its state to this folder from time to time, and go on from what it finds there."""
    token = _folder.set(folder)
    try:
        yield
    finally:
        _folder.reset(token)


@dataclass
class FittingState:
    """Everything that a fitting changes, by name; each part has `state_dict` and `load_state_dict`."""

    path: Path | None
    """None saves nothing."""
    parts: dict[str, Any]
    step: int = field(default=0, init=False)
    """Steps taken."""

    @classmethod
    def of(
        cls, name: str, module: nn.Module, optimizer: Any, schedule: Any, average: nn.Module | None
    ) -> "FittingState":
        folder = _folder.get()
        parts = {"module": module, "optimizer": optimizer, "schedule": schedule}
        if average is not None:
            parts["average"] = average
        return cls(None if folder is None else folder / f"{name.replace(', ', '-').replace(' ', '_')}.pt", parts)

    def restore(self) -> int:
        """Take over what was saved, if anything was, and return the number of steps taken."""
        if self.path is not None and self.path.exists():
            saved = torch.load(self.path, weights_only=True)
            self.step = saved.pop("step")
            for name, state in saved.items():
                self.parts[name].load_state_dict(state)
        return self.step

    def save(self, step: int) -> None:
        """Write a new file and put it in the old one's place."""
        if self.path is None:
            return
        self.path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = self.path.with_name(f".{self.path.name}.unfinished")
        torch.save({"step": step, **{name: part.state_dict() for name, part in self.parts.items()}}, unfinished)
        unfinished.replace(self.path)
