"""A discriminator that no preset knows, in one file: settings that load it, and the model."""

from typing import Literal

import torch
from torch import Tensor, nn

from stages.models.discriminators import DiscriminatorNetwork, Surroundings
from stages.plan.config import ModelReference


class EdgeDiscriminator:
    """Judges images by frozen features of neighbouring pixels, with one number that learns."""

    def __init__(self, edges: nn.Conv2d) -> None:
        self.networks = {"edges": edges.requires_grad_(False)}
        self.weight = nn.Parameter(torch.ones((), device=edges.weight.device))

    @property
    def reads(self) -> Literal["latents", "images"]:
        return "images"

    def score(self, samples: Tensor, *, frozen: bool = False) -> Tensor:
        weight = self.weight.detach() if frozen else self.weight
        return weight * self.networks["edges"](samples).square().mean(dim=(1, 2, 3))

    def score_keeping(self, samples: Tensor) -> Tensor:
        return self.score(samples)

    def named_trainable_parameters(self) -> dict[str, nn.Parameter]:
        return {"weight": self.weight}


class Edges(DiscriminatorNetwork):
    """Its settings."""

    kind: Literal["edges"] = "edges"
    model: ModelReference

    def load(self, surroundings: Surroundings) -> EdgeDiscriminator:
        return EdgeDiscriminator(nn.Conv2d(3, 4, 3, device=surroundings.device))
