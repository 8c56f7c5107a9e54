"""Evaluations by a detector's boxes: its settings, and the boxes of each image's objects in the official frame."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import pyarrow as pa
from pydantic import Field

from comat_core.metrics.spatial import FRAME, Detection
from stages.evaluate.scoring.image_scores import in_batches
from stages.evaluate.scoring.images.generated_images import GeneratedImage
from stages.evaluate.scoring.parsed_prompts import ParsedPromptsConfig
from stages.models.detectors import AnyDetector
from stages.models.devices import choose_device
from stages.plan.config import ModelReference

if TYPE_CHECKING:
    from torch import Tensor

BOX = pa.struct(
    [(name, pa.float64()) for name in ("confidence", "x_min", "y_min", "x_max", "y_max")] + [("label", pa.string())]
)

Names = Mapping[str, str]
"""What the detector is asked for -> the label that the protocol knows it by."""


class DetectedBoxesConfig(ParsedPromptsConfig):
    """Settings of every evaluation of the objects that prompts name."""

    segmenter: ModelReference = Field(description="checkpoint of the detector")
    detector: AnyDetector = Field(description="which detector finds the objects; the official one keeps above 0.5")


def detect_objects(
    images: Sequence[GeneratedImage], names: Mapping[str, Names], config: DetectedBoxesConfig, title: str
) -> "Iterator[tuple[Sequence[GeneratedImage], Tensor, list[list[Detection]]]]":
    """Yield batches of images with their pixels, (B, 3, H, W) in [0, 1] on the device, and each one's boxes.

    Args:
        names: prompt id -> what to look for.
        title: of the progress bar.
    """
    if not images:
        return
    detector = config.detector.load(config.segmenter, config.device)
    device = choose_device(config.device)
    for batch, decoded in in_batches(images, config.batch_size, title):
        pixels = decoded.to(device)
        asked = [names[image.prompt_id] for image in batch]
        found = detector.detect_objects(pixels, [list(of_image) for of_image in asked])
        height, width = pixels.shape[-2:]
        framed = [
            [in_frame(replace(box, label=labels[box.label]), width, height) for box in boxes]
            for labels, boxes in zip(asked, found, strict=True)
        ]
        yield batch, pixels, framed


def in_frame(box: Detection, width: int, height: int) -> Detection:
    """Move a box from pixels of its image to the frame of 479 px that distances are measured in."""
    x, y = FRAME / width, FRAME / height
    return replace(box, x_min=box.x_min * x, x_max=box.x_max * x, y_min=box.y_min * y, y_max=box.y_max * y)
