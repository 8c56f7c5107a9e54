"""Settings of the reward that tells a prompt from its counterfactuals."""

from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field

from stages.models.model_references import DEFAULT_PARSER, SpacyPipeline
from stages.models.rewards.settings import RewardSettings, RewardSurroundings

if TYPE_CHECKING:
    from comat_core.rewards.caption_contrast import CaptionContrast


class CaptionContrastSettings(RewardSettings):
    """The training's captioner must find the prompt likelier than nearly the same, wrong ones."""

    needs_captioner: ClassVar[bool] = True

    kind: Literal["caption_contrast"] = "caption_contrast"
    parser: Annotated[
        SpacyPipeline, Field(description="spaCy pipeline that finds what can be exchanged in a prompt")
    ] = DEFAULT_PARSER

    def load(self, surroundings: RewardSurroundings) -> "CaptionContrast":
        from comat_core.language.counterfactuals import counterfactuals
        from comat_core.language.parsers import load_parser
        from comat_core.language.read_once import read_once
        from comat_core.rewards.caption_contrast import CaptionContrast
        from data.noun_filter import load_noun_filter

        assert surroundings.captioner is not None, "the train stage's config sees to it"
        return CaptionContrast(
            surroundings.captioner, read_once(counterfactuals, load_parser(self.parser), load_noun_filter())
        )
