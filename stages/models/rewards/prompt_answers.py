"""Settings of the rewards by a model that answers yes or no."""

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from stages.models.chat_models import ChatKind, chat_model_class
from stages.models.model_references import DEFAULT_PARSER, SpacyPipeline
from stages.models.rewards.settings import RewardSettings, RewardSurroundings
from stages.plan.config import NOT_IN_KEY_IF_EMPTY, ModelReference

if TYPE_CHECKING:
    from comat_core.rewards.prompt_answers import YesNoAnswerer, YesToPrompt, YesToQuestions


class _Answered(RewardSettings):
    """A reward by a model that answers questions about images: BLIP's, or a chat model."""

    model: Annotated[ModelReference, Field(description="its checkpoint, folder or hub id")]
    chat: Annotated[
        ChatKind | None, NOT_IN_KEY_IF_EMPTY, Field(description="the chat model's kind; none: BLIP for questions")
    ] = None

    def load_answerer(self, surroundings: RewardSurroundings) -> "YesNoAnswerer":
        """Load the answering model; BLIP reads images at the size that its checkpoint was saved for."""
        if self.chat is not None:
            from comat_core.scorers.chat_answers import ChatAnswerer

            chat_model = chat_model_class(self.chat).load(
                self.model.resolve(),
                revision=self.model.revision,
                dtype=surroundings.dtype,
                device=surroundings.device,
            )
            return ChatAnswerer(chat_model)
        from comat_core.scorers.visual_question_answering import CORRECTED, VisualQuestionAnswerer

        return VisualQuestionAnswerer.load(
            self.model.resolve(),
            revision=self.model.revision,
            dtype=surroundings.dtype,
            device=surroundings.device,
            protocol=CORRECTED,
        )


class YesToPromptSettings(_Answered):
    """VQAScore: whether the image shows the prompt, as log-odds."""

    kind: Literal["yes_to_prompt"] = "yes_to_prompt"
    question: Annotated[str, Field(pattern=r"\{\}", description='what is asked; "{}" stands for the prompt')] = (
        'Does this figure show "{}"? Please answer yes or no.'
    )

    def load(self, surroundings: RewardSurroundings) -> "YesToPrompt":
        from comat_core.rewards.prompt_answers import YesToPrompt

        return YesToPrompt(self.load_answerer(surroundings), self.question)


class YesToQuestionsSettings(_Answered):
    """Each object, attribute, number and place of the prompt is a question of its own."""

    kind: Literal["yes_to_questions"] = "yes_to_questions"
    weigh: Annotated[
        Literal["failures"] | None,
        NOT_IN_KEY_IF_EMPTY,
        Field(description="weigh objects, attributes, numbers, relations by how often each fails now; none: all by 1"),
    ] = None
    parser: Annotated[SpacyPipeline, Field(description="spaCy pipeline that takes prompts apart")] = DEFAULT_PARSER

    @property
    def weighs_failures(self) -> bool:
        """Whether it is set to."""
        return self.weigh == "failures"

    def load(self, surroundings: RewardSurroundings) -> "YesToQuestions":
        from comat_core.language.parsers import load_parser
        from comat_core.language.prompt_questions import prompt_questions
        from comat_core.language.read_once import read_once
        from comat_core.rewards.prompt_answers import YesToQuestions
        from data.noun_filter import load_noun_filter

        questions = read_once(prompt_questions, load_parser(self.parser), load_noun_filter())
        return YesToQuestions(self.load_answerer(surroundings), questions)
