"""Settings of CLIPSeg as a detector."""

from typing import TYPE_CHECKING, Literal

from stages.models.detectors.settings import DetectorSettings
from stages.models.devices import choose_device
from stages.plan.config import ModelReference

if TYPE_CHECKING:
    from comat_core.detectors.clipseg import ClipSegObjects


class ClipSegBoxes(DetectorSettings):
    """Boxes of the parts of CLIPSeg's masks."""

    kind: Literal["clipseg"] = "clipseg"

    def load(self, checkpoint: ModelReference, device: str) -> "ClipSegObjects":
        from comat_core.detectors.clipseg import ClipSegObjects

        return ClipSegObjects.load(
            checkpoint.resolve(),
            revision=checkpoint.revision,
            threshold=self.threshold,
            device=choose_device(device),
        )
