"""Settings of GroundingDINO as a detector."""

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from stages.models.detectors.settings import DetectorSettings
from stages.models.devices import choose_device
from stages.plan.config import ModelReference

if TYPE_CHECKING:
    from comat_core.detectors.grounding_dino import GroundingDinoObjects


class GroundingDinoBoxes(DetectorSettings):
    """GroundingDINO, which finds any noun. Its checkpoint is one file."""

    kind: Literal["grounding_dino"] = "grounding_dino"
    text_encoder: Annotated[ModelReference, Field(description="its BERT, folder or hub id")]

    def load(self, checkpoint: ModelReference, device: str) -> "GroundingDinoObjects":
        from comat_core.detectors.grounding_dino import GroundingDinoObjects

        return GroundingDinoObjects.load(
            checkpoint.resolve(),
            text_encoder=self.text_encoder.resolve_folder(),
            threshold=self.threshold,
            device=choose_device(device),
        )
