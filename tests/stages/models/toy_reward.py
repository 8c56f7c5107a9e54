"""A reward that no preset knows, in one file: settings that load it, and the model."""

from collections.abc import Callable, Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from stages.models.rewards import RewardSettings, RewardSurroundings
from stages.plan.config import ModelReference


class Warmth:
    """Scores what a linear layer makes of the image's mean colour."""

    def __init__(self, layer: nn.Linear) -> None:
        self.networks = {"layer": layer}

    def prepare(self, prompts: Sequence[str], device: torch.device) -> Callable[[Tensor], Tensor]:
        lengths = torch.tensor([float(len(prompt)) for prompt in prompts], device=device)
        return lambda images: lengths * self.networks["layer"](images.mean(dim=(2, 3)))[:, 0]


class WarmthSettings(RewardSettings):
    """Its settings."""

    kind: Literal["warmth"] = "warmth"
    model: ModelReference

    def load(self, surroundings: RewardSurroundings) -> Warmth:
        assert self.model.path, "nothing is read from it"
        return Warmth(nn.Linear(3, 1, dtype=surroundings.dtype, device=surroundings.device))
