"""Settings of Mask2Former as a detector."""

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from stages.models.detectors.settings import DetectorSettings
from stages.models.devices import choose_device
from stages.plan.config import ModelReference

if TYPE_CHECKING:
    from comat_core.detectors.mask2former import Mask2FormerObjects


class Mask2Former(DetectorSettings):
    """Mask2Former, which knows the classes it was trained on and gives masks."""

    kind: Literal["mask2former"] = "mask2former"
    input_side: Annotated[int, Field(ge=64, le=4096, description="shorter side in pixels of what it sees")] = 800

    def load(self, checkpoint: ModelReference, device: str) -> "Mask2FormerObjects":
        from comat_core.detectors.mask2former import Mask2FormerObjects

        return Mask2FormerObjects.load(
            checkpoint.resolve(),
            revision=checkpoint.revision,
            threshold=self.threshold,
            input_side=self.input_side,
            device=choose_device(device),
        )
