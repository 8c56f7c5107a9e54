"""Boxes around the connected parts of CLIPSeg's masks: a detector where only a segmenter is at hand."""

from collections.abc import Sequence

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor

from comat_core.metrics.spatial import Detection
from comat_core.segmenters.clipseg import ClipSegSegmenter

SMALLEST_SHARE = 0.005
"""Of the image's area; smaller parts of a mask are specks, not objects."""


class ClipSegObjects:
    """Every part of a noun's mask is one object; its confidence is the mean probability of its pixels."""

    def __init__(self, segmenter: ClipSegSegmenter) -> None:
        self.segmenter = segmenter

    @classmethod
    def load(
        cls, folder: str, *, revision: str | None = None, threshold: float, device: torch.device | str = "cpu"
    ) -> "ClipSegObjects":
        """Load a frozen CLIPSeg from a folder or hub id.

        Args:
            threshold: least probability of a mask's pixels, in (0, 1).

        Raises:
            UserError: there is no complete CLIPSeg checkpoint.
        """
        return cls(ClipSegSegmenter.load(folder, revision=revision, threshold=threshold, device=device))

    def detect_objects(self, images: Tensor, nouns: Sequence[Sequence[str]]) -> list[list[Detection]]:
        """Find nouns[i] in images[i]; see `Detector`."""
        found = []
        for of_image, probabilities in zip(nouns, self.segmenter.probabilities(images, nouns), strict=True):
            objects = [
                detection
                for noun, mask in zip(of_image, probabilities.cpu().numpy(), strict=True)
                for detection in boxes_of(noun, mask, self.segmenter.threshold)
            ]
            found.append(sorted(objects, key=lambda detection: -detection.confidence))
        return found


def boxes_of(label: str, probabilities: np.ndarray, threshold: float) -> list[Detection]:
    """Box the connected parts of the pixels above a threshold.

    Args:
        probabilities: (H, W) in [0, 1].
    """
    parts = np.empty(probabilities.shape, dtype=np.int32)
    ndimage.label(probabilities > threshold, output=parts)
    boxes = []
    for index, place in enumerate(ndimage.find_objects(parts), start=1):
        pixels = parts[place] == index
        if pixels.sum() < SMALLEST_SHARE * probabilities.size:
            continue
        rows, columns = place
        confidence = float(probabilities[place][pixels].mean())
        boxes.append(
            Detection(label, confidence, float(columns.start), float(rows.start), float(columns.stop), float(rows.stop))
        )
    return boxes
