"""The detectors that a preset may name."""

from typing import Annotated

from pydantic import Field

from stages.models.detectors.clipseg import ClipSegBoxes
from stages.models.detectors.grounding_dino import GroundingDinoBoxes
from stages.models.detectors.mask2former import Mask2Former
from stages.models.detectors.settings import DetectorSettings

AnyDetector = Annotated[GroundingDinoBoxes | ClipSegBoxes, Field(discriminator="kind")]
"""Finds whatever it is asked for."""
AnyClassDetector = Annotated[Mask2Former | GroundingDinoBoxes | ClipSegBoxes, Field(discriminator="kind")]
"""May know no more than the classes that it was trained on."""

__all__ = [
    "AnyClassDetector",
    "AnyDetector",
    "ClipSegBoxes",
    "DetectorSettings",
    "GroundingDinoBoxes",
    "Mask2Former",
]
