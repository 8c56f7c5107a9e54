"""Settings of CLIPSeg as the segmenter."""

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from stages.models.segmenters.settings import SegmenterSettings
from stages.plan.config import ModelReference

if TYPE_CHECKING:
    import torch

    from comat_core.segmenters.clipseg import ClipSegSegmenter


class ClipSeg(SegmenterSettings):
    """One small model from image and noun to mask."""

    kind: Literal["clipseg"] = "clipseg"
    threshold: Annotated[float, Field(gt=0, lt=1, description="least probability of a mask's pixels")] = 0.5

    def load(self, checkpoint: ModelReference, *, device: "torch.device | str") -> "ClipSegSegmenter":
        from comat_core.segmenters.clipseg import ClipSegSegmenter

        return ClipSegSegmenter.load(
            checkpoint.resolve(),
            revision=checkpoint.revision,
            device=device,
            threshold=self.threshold,
            instances=self.telling_apart,
        )
