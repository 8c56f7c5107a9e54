"""Grounded-SAM: GroundingDINO finds a noun's boxes, SAM cuts out what each box holds."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import torch
from segment_anything import SamPredictor, sam_model_registry
from torch import Tensor, nn
from torch.nn import functional

from comat_core.segmenters.checkpoints import put_weights, read_checkpoint
from comat_core.segmenters.grounding_dino import Detections, GroundingDinoConfig, GroundingDinoDetector
from comat_core.support.errors import UserError

_BOXES_AT_ONCE: Final = 32
"""Masks are upsampled at SAM's input size, 4 MB each in float32."""


class GroundedSamSegmenter:
    """An entity's mask is the union of the masks of all its boxes."""

    def __init__(self, detector: GroundingDinoDetector, sam: Any) -> None:
        self.detector = detector
        self.sam = sam

    @classmethod
    def load(
        cls,
        detector_checkpoint: str | Path,
        sam_checkpoint: str | Path,
        *,
        sam_model_type: str = "vit_h",
        text_encoder: str = "bert-base-uncased",
        config: GroundingDinoConfig | None = None,
        device: torch.device | str = "cpu",
        **settings: Any,
    ) -> "GroundedSamSegmenter":
        """Load both frozen models.

        Args:
            detector_checkpoint: the published GroundingDINO file.
            sam_checkpoint: the published SAM file of that model type.
            sam_model_type: "vit_h", "vit_l" or "vit_b".
            text_encoder, config, settings: see `GroundingDinoDetector.load`.

        Raises:
            UserError: unknown model type, or a file that cannot be read or is of another model.
        """
        sam = load_sam(sam_checkpoint, sam_model_type, device=device)
        detector = GroundingDinoDetector.load(
            detector_checkpoint, text_encoder=text_encoder, config=config, device=device, **settings
        )
        return cls(detector, sam)

    @property
    def networks(self) -> dict[str, nn.Module]:
        """Both models."""
        return {"GroundingDINO": self.detector.model, "SAM": self.sam}

    @torch.no_grad()
    def segment(self, images: Tensor, nouns: Sequence[Sequence[str]]) -> list[Tensor]:
        """Find nouns[i] in images[i]; see `Segmenter`. Images where no box is found never reach SAM."""
        images = images.float().clamp(0, 1)
        detections = self.detector.detect(images, nouns)
        with torch.autocast(images.device.type, enabled=False):
            return [
                self._cut_out(image, of_image, len(asked))
                for image, of_image, asked in zip(images, detections, nouns, strict=True)
            ]

    def _cut_out(self, image: Tensor, detections: Detections, noun_count: int) -> Tensor:
        """Unite the masks of each noun's boxes, to booleans (noun_count, H, W)."""
        masks = torch.zeros(noun_count, *image.shape[-2:], dtype=torch.bool, device=image.device)
        if not len(detections.boxes):
            return masks
        predictor = self._embed(image)
        boxes = predictor.transform.apply_boxes_torch(detections.boxes, tuple(image.shape[-2:]))
        chunks = zip(boxes.split(_BOXES_AT_ONCE), detections.noun_indices.split(_BOXES_AT_ONCE), strict=True)
        for some_boxes, their_nouns in chunks:
            of_boxes, _, _ = predictor.predict_torch(None, None, some_boxes, multimask_output=False)
            for noun, mask in zip(their_nouns.tolist(), of_boxes[:, 0], strict=True):
                masks[noun] |= mask
        return masks

    def _embed(self, image: Tensor) -> SamPredictor:
        """Give a (3, H, W) image to SAM, the longer side resized to what its encoder reads."""
        predictor = SamPredictor(self.sam)
        height, width = image.shape[-2:]
        size = predictor.transform.get_preprocess_shape(height, width, self.sam.image_encoder.img_size)
        resized = functional.interpolate(image[None] * 255, size, mode="bilinear", align_corners=False, antialias=True)
        predictor.set_torch_image(resized, (height, width))
        return predictor


def load_sam(checkpoint: str | Path, model_type: str = "vit_h", *, device: torch.device | str = "cpu") -> Any:
    """Load a frozen SAM.

    Raises:
        UserError: unknown model type, or a file that cannot be read or is of another type.
    """
    known = [name for name in sam_model_registry if name != "default"]
    if model_type not in known:
        raise UserError(f"unknown SAM model type {model_type!r}", "sam_model_type", f"use one of {', '.join(known)}")
    sam = sam_model_registry[model_type](checkpoint=None)
    put_weights(sam, read_checkpoint(checkpoint), checkpoint)
    return sam.requires_grad_(False).eval().to(device)
