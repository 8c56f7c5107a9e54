"""Grounded-SAM: GroundingDINO finds a noun's boxes, SAM cuts out what each box holds."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final, TypeVar

import torch
from segment_anything import SamPredictor, sam_model_registry
from torch import Tensor, nn
from torch.nn import functional

from comat_core.segmenters.checkpoints import put_weights, read_checkpoint
from comat_core.segmenters.grounding_dino import Detections, GroundingDinoConfig, GroundingDinoDetector
from comat_core.segmenters.instance_settings import InstanceSettings
from comat_core.segmenters.instances import DEFAULT_INSTANCES, distinct_instances
from comat_core.support.errors import UserError

Found = TypeVar("Found")

_BOXES_AT_ONCE: Final = 32
"""Masks are upsampled at SAM's input size, 4 MB each in float32."""


class GroundedSamSegmenter:
    """An entity's mask is the union of the masks of all its boxes; single objects are the boxes' masks themselves."""

    def __init__(
        self, detector: GroundingDinoDetector, sam: Any, *, instances: InstanceSettings = DEFAULT_INSTANCES
    ) -> None:
        self.detector = detector
        self.sam = sam
        self.instances = instances

    @classmethod
    def load(
        cls,
        detector_checkpoint: str | Path,
        sam_checkpoint: str | Path,
        *,
        sam_model_type: str = "vit_h",
        text_encoder: str = "bert-base-uncased",
        config: GroundingDinoConfig | None = None,
        instances: InstanceSettings = DEFAULT_INSTANCES,
        device: torch.device | str = "cpu",
        **settings: Any,
    ) -> "GroundedSamSegmenter":
        """Load both frozen models.

        Args:
            detector_checkpoint: the published GroundingDINO file.
            sam_checkpoint: the published SAM file of that model type.
            sam_model_type: "vit_h", "vit_l" or "vit_b".
            instances: which boxes' masks are objects of their own.
            text_encoder, config, settings: see `GroundingDinoDetector.load`.

        Raises:
            UserError: unknown model type, or a file that cannot be read or is of another model.
        """
        sam = load_sam(sam_checkpoint, sam_model_type, device=device)
        detector = GroundingDinoDetector.load(
            detector_checkpoint, text_encoder=text_encoder, config=config, device=device, **settings
        )
        return cls(detector, sam, instances=instances)

    @property
    def networks(self) -> dict[str, nn.Module]:
        """Both models."""
        return {"GroundingDINO": self.detector.model, "SAM": self.sam}

    def segment(self, images: Tensor, nouns: Sequence[Sequence[str]]) -> list[Tensor]:
        """Find nouns[i] in images[i]; see `Segmenter`. Images where no box is found never reach SAM."""
        return self._of_images(images, nouns, self._cut_out)

    def segment_instances(self, images: Tensor, nouns: Sequence[Sequence[str]]) -> list[list[Tensor]]:
        """Find each object of nouns[i] in images[i], the mask of a box; see `InstanceSegmenter`."""
        return self._of_images(images, nouns, self._single_out)

    @torch.no_grad()
    def _of_images(
        self, images: Tensor, nouns: Sequence[Sequence[str]], read: Callable[[Tensor, Detections, int], Found]
    ) -> list[Found]:
        """What `read` makes of each image, its boxes and the number of its nouns."""
        images = images.float().clamp(0, 1)
        detections = self.detector.detect(images, nouns)
        with torch.autocast(images.device.type, enabled=False):
            return [
                read(image, of_image, len(asked))
                for image, of_image, asked in zip(images, detections, nouns, strict=True)
            ]

    def _cut_out(self, image: Tensor, detections: Detections, noun_count: int) -> Tensor:
        """Unite the masks of each noun's boxes, to booleans (noun_count, H, W)."""
        masks = torch.zeros(noun_count, *image.shape[-2:], dtype=torch.bool, device=image.device)
        for noun, mask in self._masks_of_boxes(image, detections):
            masks[noun] |= mask
        return masks

    def _single_out(self, image: Tensor, detections: Detections, noun_count: int) -> list[Tensor]:
        """The objects of each noun, booleans (objects, H, W) per noun, the surest box's first."""
        masks: list[list[Tensor]] = [
            [image.new_zeros(0, *image.shape[-2:], dtype=torch.bool)] for _ in range(noun_count)
        ]
        for noun, mask in self._masks_of_boxes(image, detections):
            masks[noun].append(mask[None])
        return [distinct_instances(torch.cat(of_noun), self.instances) for of_noun in masks]

    def _masks_of_boxes(self, image: Tensor, detections: Detections) -> Iterator[tuple[int, Tensor]]:
        """(noun, its mask (H, W)) of every box, in their order."""
        if not len(detections.boxes):
            return
        predictor = self._embed(image)
        boxes = predictor.transform.apply_boxes_torch(detections.boxes, tuple(image.shape[-2:]))
        chunks = zip(boxes.split(_BOXES_AT_ONCE), detections.noun_indices.split(_BOXES_AT_ONCE), strict=True)
        for some_boxes, their_nouns in chunks:
            of_boxes, _, _ = predictor.predict_torch(None, None, some_boxes, multimask_output=False)
            yield from zip(their_nouns.tolist(), of_boxes[:, 0], strict=True)

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
