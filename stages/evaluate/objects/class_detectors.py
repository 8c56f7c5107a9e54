"""Settings of detectors that are asked for classes by name, Mask2Former among them, which knows a closed list."""

from typing import TYPE_CHECKING, Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from stages.devices import choose_device
from stages.evaluate.scoring.settings import DetectorSettings
from stages.plan.config import ModelReference

if TYPE_CHECKING:
    from comat_core.detectors import Detector

MASK2FORMER = ModelReference(
    path="facebook/mask2former-swin-small-coco-instance", revision="f77f179fc62b98f6734481ebbef5bceeb1e7f10b"
)


class ClassDetectorSettings(BaseModel):
    """Which detector finds the objects of a class."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Annotated[
        Literal["mask2former", "grounding_dino", "clipseg"],
        Field(description="mask2former knows the classes it was trained on, and gives masks; the others take any name"),
    ] = "mask2former"
    checkpoint: Annotated[ModelReference, Field(description="of the detector, folder or hub id")] = MASK2FORMER
    text_encoder: Annotated[
        ModelReference | None, Field(description="GroundingDINO's BERT, folder or hub id; needed by that kind alone")
    ] = None
    threshold: Annotated[float, Field(gt=0, lt=1, description="least confidence of an object")] = 0.3
    counting_threshold: Annotated[
        float,
        Field(gt=0, lt=1, description="the same where objects are counted; lower for detectors that are never as sure"),
    ] = 0.9
    input_side: Annotated[
        int, Field(ge=64, le=4096, description="shorter side in pixels of what Mask2Former sees; others go by theirs")
    ] = 800

    @model_validator(mode="after")
    def _has_what_its_kind_needs(self) -> Self:
        if (self.kind == "grounding_dino") != (self.text_encoder is not None):
            raise ValueError("text_encoder belongs to grounding_dino, which needs it")
        return self

    def load(self, device: str) -> "Detector":
        """Load the detector from its checkpoint.

        Raises:
            UserError: there is no such checkpoint.
        """
        if self.kind != "mask2former":
            settings = DetectorSettings(kind=self.kind, text_encoder=self.text_encoder, threshold=self.threshold)
            return settings.load(self.checkpoint, device)
        from comat_core.detectors import load_detector

        return load_detector(
            self.kind,
            self.checkpoint.resolve(),
            revision=self.checkpoint.revision,
            threshold=self.threshold,
            input_side=self.input_side,
            device=choose_device(device),
        )
