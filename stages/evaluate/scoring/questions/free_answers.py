"""Asking a visual question answering model freely about many images."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pydantic import Field

from stages.evaluate.scoring.image_scores import in_question_batches
from stages.evaluate.scoring.images.generated_images import GeneratedImage
from stages.evaluate.scoring.models_in_memory import in_precision, loaded_model
from stages.evaluate.scoring.questions.question_files import QuestionFile
from stages.evaluate.scoring.questions.question_items import QuestionedConfig
from stages.evaluate.scoring.settings import ScorerPrecision
from stages.models.devices import choose_device
from stages.plan.config import ModelReference

if TYPE_CHECKING:
    from comat_core.scorers.visual_question_answering import VisualQuestionAnswerer


class QuestionsConfig(QuestionedConfig):
    """Settings of every evaluation that asks questions of a file."""

    vqa: ModelReference = Field(
        description="a BLIP visual question answering model, folder or hub id; it stands in for mPLUG-large, which"
        " transformers does not have, so that scores compare with each other and not with published ones"
    )

    precision: ScorerPrecision = "fp32"

    questions: QuestionFile = Field(description="the benchmark's file of questions")

    def scores_payload(self) -> dict[str, Any]:
        return {**super().scores_payload(), "questions": self.questions.content_identity()}

    def question_file(self) -> QuestionFile:
        return self.questions


def load_answerer(config: QuestionsConfig) -> "VisualQuestionAnswerer":
    """Load the answering model."""
    from comat_core.scorers.visual_question_answering import CORRECTED, VisualQuestionAnswerer

    precision = in_precision(config.precision)
    return loaded_model(VisualQuestionAnswerer.load, config.vqa, config.device, protocol=CORRECTED, **precision)


def ask_images(
    images: Sequence[GeneratedImage],
    questions: Mapping[str, Sequence[str]],
    answerer: "VisualQuestionAnswerer",
    config: QuestionsConfig,
) -> list[list[str]]:
    """Answer every image's questions; one list per image, in the order of its prompt's questions.

    Args:
        questions: prompt id -> its questions.
    """
    asked = [(row, question) for row, image in enumerate(images) for question in questions[image.prompt_id]]
    answers: list[list[str]] = [[] for _ in images]
    device = choose_device(config.device)
    for batch, pixels, places in in_question_batches(images, asked, config.batch_size, "Questions"):
        given = answerer.answer(pixels.to(device), [question for _, question in batch], places)
        for (row, _), answer in zip(batch, given, strict=True):
            answers[row].append(answer)
    return answers
