"""What may judge a training that does not learn from it: every reward that brings its own model, and more."""

from typing import Annotated

from pydantic import Field

from stages.models.judges.caption_likelihood import CaptionLikelihoodSettings
from stages.models.judges.described_objects import DescribedObjectsSettings
from stages.models.rewards import AnyReward

AnyJudge = Annotated[
    AnyReward | CaptionLikelihoodSettings | DescribedObjectsSettings,
    Field(discriminator="kind"),
]

__all__ = ["AnyJudge", "CaptionLikelihoodSettings", "DescribedObjectsSettings"]
