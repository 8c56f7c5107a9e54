"""Settings of another captioner as a judge."""

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from stages.models.captioners import AnyCaptioner
from stages.models.rewards.settings import RewardSettings, RewardSurroundings
from stages.plan.config import ModelReference

if TYPE_CHECKING:
    from comat_core.scorers.caption_likelihood import CaptionLikelihoodJudge


class CaptionLikelihoodSettings(RewardSettings):
    """Mean log-likelihood per token of the prompt under a captioner of its own."""

    kind: Literal["caption_likelihood"] = "caption_likelihood"
    captioning: Annotated[AnyCaptioner, Field(description="what the captioner is")]
    model: Annotated[ModelReference, Field(description="its checkpoint, folder or hub id")]

    def load(self, surroundings: RewardSurroundings) -> "CaptionLikelihoodJudge":
        from comat_core.scorers.caption_likelihood import CaptionLikelihoodJudge

        captioner = self.captioning.load(self.model, dtype=surroundings.dtype, device=surroundings.device)
        return CaptionLikelihoodJudge(captioner)
