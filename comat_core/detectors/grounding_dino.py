"""GroundingDINO's boxes behind the protocol `Detector`. Importing this module imports groundingdino-py."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from comat_core.metrics.spatial import Detection
from comat_core.segmenters.grounding_dino import GroundingDinoDetector


class GroundingDinoObjects:
    """Objects as GroundingDINO finds them."""

    def __init__(self, detector: GroundingDinoDetector) -> None:
        self.detector = detector

    @classmethod
    def load(
        cls,
        checkpoint: str | Path,
        *,
        text_encoder: str,
        threshold: float,
        device: torch.device | str = "cpu",
        **settings: Any,
    ) -> "GroundingDinoObjects":
        """Load a frozen detector; see `GroundingDinoDetector.load`.

        Args:
            threshold: least confidence of a box, in (0, 1).
        """
        return cls(
            GroundingDinoDetector.load(
                checkpoint, text_encoder=text_encoder, box_threshold=threshold, device=device, **settings
            )
        )

    def detect_objects(self, images: Tensor, nouns: Sequence[Sequence[str]]) -> list[list[Detection]]:
        """Find nouns[i] in images[i]; see `Detector`."""
        return [
            [
                Detection(of_image[int(noun)], confidence, *corners)
                for corners, confidence, noun in zip(
                    found.boxes.tolist(), found.scores.tolist(), found.noun_indices.tolist(), strict=True
                )
            ]
            for found, of_image in zip(self.detector.detect(images, nouns), nouns, strict=True)
        ]
