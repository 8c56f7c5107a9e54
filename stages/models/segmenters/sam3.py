"""Settings of SAM 3 as the segmenter."""

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from stages.models.segmenters.settings import SegmenterSettings
from stages.plan.config import ModelReference

if TYPE_CHECKING:
    import torch

    from comat_core.segmenters.sam3 import Sam3Segmenter


class Sam3(SegmenterSettings):
    """SAM 3 of transformers, which finds every object that a noun names."""

    kind: Literal["sam3"] = "sam3"
    threshold: Annotated[float, Field(gt=0, lt=1, description="least score of an object")] = 0.5
    mask_threshold: Annotated[float, Field(gt=0, lt=1, description="least probability of a mask's pixels")] = 0.5

    def load(self, checkpoint: ModelReference, *, device: "torch.device | str") -> "Sam3Segmenter":
        from comat_core.segmenters.sam3 import Sam3Segmenter

        return Sam3Segmenter.load(
            checkpoint.resolve(),
            revision=checkpoint.revision,
            device=device,
            threshold=self.threshold,
            mask_threshold=self.mask_threshold,
            instances=self.telling_apart,
        )
