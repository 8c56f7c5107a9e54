"""Settings of detectors that are asked for classes by name, Mask2Former among them, which knows a closed list."""

from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from comat_core.settings import Settings
from stages.models.detectors import AnyClassDetector, Mask2Former
from stages.plan.config import ModelReference

if TYPE_CHECKING:
    from comat_core.detectors import Detector

MASK2FORMER = ModelReference(
    path="facebook/mask2former-swin-small-coco-instance", revision="f77f179fc62b98f6734481ebbef5bceeb1e7f10b"
)


class ClassDetectorSettings(Settings):
    """Which detector finds the objects of a class, and how sure it has to be where they are counted."""

    network: Annotated[
        AnyClassDetector,
        Field(description="mask2former knows the classes it was trained on, and gives masks; the others take any name"),
    ] = Mask2Former()
    checkpoint: Annotated[ModelReference, Field(description="of the detector, folder or hub id")] = MASK2FORMER
    counting_threshold: Annotated[
        float,
        Field(
            gt=0,
            lt=1,
            description="the same where objects are counted; lower for detectors never as sure",
        ),
    ] = 0.9

    @property
    def kind(self) -> str:
        """Of the detector."""
        return self.network.kind

    @property
    def threshold(self) -> float:
        """Least confidence of an object."""
        return self.network.threshold

    def load(self, device: str) -> "Detector":
        """Load the detector from its checkpoint.

        Raises:
            UserError: there is no such checkpoint.
        """
        return self.network.load(self.checkpoint, device)
