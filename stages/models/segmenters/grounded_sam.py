"""Settings of Grounded-SAM as the segmenter."""

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from stages.models.segmenters.settings import SegmenterSettings
from stages.plan.config import ModelReference

if TYPE_CHECKING:
    import torch

    from comat_core.segmenters.grounded_sam import GroundedSamSegmenter


class GroundedSam(SegmenterSettings):
    """GroundingDINO, whose checkpoint models.segmenter is, finds boxes, and SAM cuts out what they hold."""

    kind: Literal["grounded_sam"] = "grounded_sam"
    box_threshold: Annotated[float, Field(gt=0, lt=1, description="least score of a box")] = 0.3
    text_threshold: Annotated[float, Field(gt=0, lt=1, description="least score of a token")] = 0.25
    sam: Annotated[ModelReference, Field(description="SAM's checkpoint file")]
    sam_model_type: Annotated[Literal["vit_h", "vit_l", "vit_b"], Field(description="SAM's size")] = "vit_h"
    text_encoder: Annotated[ModelReference, Field(description="GroundingDINO's BERT, folder or hub id")]

    def load(self, checkpoint: ModelReference, *, device: "torch.device | str") -> "GroundedSamSegmenter":
        from comat_core.segmenters.grounded_sam import GroundedSamSegmenter

        return GroundedSamSegmenter.load(
            checkpoint.resolve(),
            self.sam.resolve(),
            sam_model_type=self.sam_model_type,
            text_encoder=self.text_encoder.resolve_folder(),
            instances=self.telling_apart,
            device=device,
            box_threshold=self.box_threshold,
            text_threshold=self.text_threshold,
        )
