"""A pipeline as it is."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch

from stages.images.drawing.method import DrawingMethod

if TYPE_CHECKING:
    from PIL.Image import Image


class AsSaved(DrawingMethod):
    """Calls the pipeline."""

    def draw(
        self, prompts: Sequence[str], generators: Sequence[torch.Generator], options: Mapping[str, Any]
    ) -> "list[Image]":
        return self.pipeline(prompt=list(prompts), generator=list(generators), **options).images
