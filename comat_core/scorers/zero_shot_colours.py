"""The colour of a detected object by CLIP, zero-shot: GenEval's classifier of ten colours."""

from collections.abc import Sequence
from typing import Any, Final

import torch
from torch import Tensor
from torch.nn import functional
from transformers import CLIPModel

from comat_core.metrics.geneval import COLOURS, Detection
from comat_core.scorers.clip_embeddings import ClipReader

TEMPLATES: Final = (
    "a photo of a {colour} {name}",
    "a photo of a {colour}-colored {name}",
    "a photo of a {colour} object",
)
BACKGROUND: Final = 0x99 / 0xFF
"""Grey that covers what is not the object, where its mask is known."""


class ColourClassifier(ClipReader):
    """Compares an object's crop with the mean of three descriptions of each colour."""

    def __init__(self, model: CLIPModel, processor: Any) -> None:
        super().__init__(model, processor)
        self._descriptions: dict[str, Tensor] = {}

    @torch.no_grad()
    def classify(self, image: Tensor, name: str, objects: Sequence[Detection]) -> list[str]:
        """The likeliest colour of each object of an image (3, H, W) in [0, 1].

        Args:
            name: what the objects are called in the descriptions.
        """
        crops = [self.preprocess(crop_object(image, one)[None].to(self.model.device)) for one in objects]
        if not crops:
            return []
        similarities = self.image_embeddings(torch.cat(crops)) @ self._describe(name).T
        return [COLOURS[index] for index in similarities.argmax(dim=-1).tolist()]

    def _describe(self, name: str) -> Tensor:
        """(colours, D) unit vectors, made once for each name."""
        if name not in self._descriptions:
            texts = [template.format(colour=colour, name=name) for colour in COLOURS for template in TEMPLATES]
            each = self.text_embeddings(texts).unflatten(0, (len(COLOURS), len(TEMPLATES)))
            self._descriptions[name] = functional.normalize(each.mean(dim=1), dim=-1)
        return self._descriptions[name]


def crop_object(image: Tensor, detected: Detection) -> Tensor:
    """Cut an object out of an image (3, H, W), at least a pixel; what its mask leaves out turns grey."""
    if detected.mask is not None:
        mask = torch.from_numpy(detected.mask).to(image.device)
        image = torch.where(mask, image, torch.full_like(image, BACKGROUND))
    height, width = image.shape[-2:]
    left, right = _bounds(detected.x_min, detected.x_max, width)
    top, bottom = _bounds(detected.y_min, detected.y_max, height)
    return image[:, top:bottom, left:right]


def _bounds(low: float, high: float, side: int) -> tuple[int, int]:
    start = min(max(round(low), 0), side - 1)
    return start, min(max(round(high), start + 1), side)
