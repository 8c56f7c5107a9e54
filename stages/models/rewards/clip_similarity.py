"""Settings of CLIP and PickScore as a reward."""

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from stages.models.rewards.settings import RewardSettings, RewardSurroundings
from stages.plan.config import ModelReference

if TYPE_CHECKING:
    from comat_core.rewards.clip_similarity import ClipSimilarity


class ClipSimilaritySettings(RewardSettings):
    """A CLIP checkpoint, such as openai's or PickScore's, and the scale that it was trained with."""

    kind: Literal["clip_similarity"] = "clip_similarity"
    model: Annotated[ModelReference, Field(description="its checkpoint, folder or hub id")]
    processor: Annotated[
        ModelReference | None, Field(description="whose processor it reads with, if its checkpoint has none")
    ] = None

    def load(self, surroundings: RewardSurroundings) -> "ClipSimilarity":
        from comat_core.rewards.clip_similarity import ClipSimilarity
        from comat_core.scorers.clip_score import ClipScorer

        scorer = ClipScorer.load(
            self.model.resolve(),
            revision=self.model.revision,
            processor=(self.processor.resolve(), self.processor.revision) if self.processor else None,
            dtype=surroundings.dtype,
            device=surroundings.device,
        )
        return ClipSimilarity(scorer)
