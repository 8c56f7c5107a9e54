"""Settings of the classifier of colour-shape pairs as a judge."""

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from stages.models.rewards.settings import RewardSettings, RewardSurroundings
from stages.plan.config import ModelReference

if TYPE_CHECKING:
    from comat_core.scorers.described_objects import DescribedObjectsJudge


class DescribedObjectsSettings(RewardSettings):
    """What evaluate.judge scores with: whether the prompt's objects are there as described."""

    kind: Literal["described_objects"] = "described_objects"
    model: Annotated[ModelReference, Field(description='a multi-label ResNet classifier of "colour shape" pairs')]
    metric: Annotated[
        Literal["object_accuracy", "attribute_accuracy", "all_right", "exact"],
        Field(description="which of the judge's scores"),
    ] = "attribute_accuracy"

    def load(self, surroundings: RewardSurroundings) -> "DescribedObjectsJudge":
        from comat_core.scorers.described_objects import DescribedObjectsJudge
        from comat_core.scorers.judge import Judge

        judge = Judge.load(self.model.resolve(), revision=self.model.revision, device=surroundings.device)
        return DescribedObjectsJudge(judge, self.metric)
