"""A captioner that no preset knows, in one file: settings that load it, and the model."""

from collections.abc import Callable, Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from comat_core.captioners import CaptionLikelihood
from stages.models.captioners import CaptionerSettings
from stages.plan.config import ModelReference


class ColourCaptioner:
    """Finds any caption the likelier the nearer the image's mean colour is to what a linear layer makes of it."""

    def __init__(self, palette: nn.Linear) -> None:
        self.networks = {"palette": palette}

    def prepare(self, captions: Sequence[str], device: torch.device) -> Callable[[Tensor], CaptionLikelihood]:
        mask = torch.ones(len(captions), 1, dtype=torch.bool, device=device)

        def score(images: Tensor) -> CaptionLikelihood:
            colours = images.mean(dim=(2, 3))
            distances = (self.networks["palette"](colours) - colours).square().sum(dim=1, keepdim=True)
            return CaptionLikelihood(-distances, mask)

        return score

    def log_likelihood(self, images: Tensor, captions: Sequence[str]) -> CaptionLikelihood:
        return self.prepare(captions, images.device)(images)


class Colours(CaptionerSettings):
    """Its settings."""

    kind: Literal["colours"] = "colours"
    palette: ModelReference

    def load(self, checkpoint: ModelReference, *, dtype: torch.dtype, device: torch.device | str) -> ColourCaptioner:
        assert checkpoint.path, "nothing is read from it"
        return ColourCaptioner(nn.Linear(3, 3, dtype=dtype, device=device))
