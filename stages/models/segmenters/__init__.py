"""The segmenters that a preset may name. The checkpoint is the one that models.segmenter names."""

from typing import Annotated

from pydantic import Field

from stages.models.segmenters.clipseg import ClipSeg
from stages.models.segmenters.grounded_sam import GroundedSam
from stages.models.segmenters.sam3 import Sam3
from stages.models.segmenters.settings import SegmenterSettings

AnySegmenter = Annotated[ClipSeg | GroundedSam | Sam3, Field(discriminator="kind")]

__all__ = ["AnySegmenter", "ClipSeg", "GroundedSam", "Sam3", "SegmenterSettings"]
