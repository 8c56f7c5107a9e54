"""The rewards that a preset may name beside concept activation, or instead of it."""

from typing import Annotated

from pydantic import Field

from stages.models.rewards.caption_contrast import CaptionContrastSettings
from stages.models.rewards.clip_similarity import ClipSimilaritySettings
from stages.models.rewards.human_preference import HumanPreferenceSettings
from stages.models.rewards.prompt_answers import YesToPromptSettings, YesToQuestionsSettings
from stages.models.rewards.settings import RewardSettings, RewardSurroundings

AnyReward = Annotated[
    CaptionContrastSettings
    | YesToPromptSettings
    | YesToQuestionsSettings
    | ClipSimilaritySettings
    | HumanPreferenceSettings,
    Field(discriminator="kind"),
]

__all__ = ["AnyReward", "RewardSettings", "RewardSurroundings"]
