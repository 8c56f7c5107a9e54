"""Asking a visual question answering model freely about many images."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from pydantic import Field

from stages.config import ModelReference
from stages.devices import choose_device
from stages.evaluate.generated_images import GeneratedImage, decode_images
from stages.evaluate.loaded import loaded
from stages.evaluate.prefetching import prefetched, rows_of
from stages.evaluate.settings import EvaluationConfig
from stages.progress import progress_bar
from stages.sampling import in_parts

if TYPE_CHECKING:
    from comat_core.visual_question_answering import VisualQuestionAnswerer


class QuestionsConfig(EvaluationConfig):
    """Settings of every evaluation that asks questions of a file."""

    vqa: ModelReference = Field(
        description="a BLIP visual question answering model, folder or hub id; it stands in for mPLUG-large, which"
        " transformers does not have, so that scores compare with each other and not with published ones"
    )


def load_answerer(config: QuestionsConfig) -> "VisualQuestionAnswerer":
    """Load the answering model."""
    from comat_core.visual_question_answering import CORRECTED, VisualQuestionAnswerer

    device = choose_device(config.device)
    return loaded(
        VisualQuestionAnswerer.load,
        config.vqa.resolve(),
        revision=config.vqa.revision,
        device=device,
        protocol=CORRECTED,
    )


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
    batches = in_parts(asked, config.batch_size)
    decoded = prefetched(batches, lambda batch: decode_images([images[row].png for row in rows_of(batch)]))
    for batch, pixels in progress_bar(decoded, "Questions", total=len(batches)):
        places = {row: place for place, row in enumerate(rows_of(batch))}
        pixels = pixels.to(choose_device(config.device))
        given = answerer.answer(pixels, [question for _, question in batch], [places[row] for row, _ in batch])
        for (row, _), answer in zip(batch, given, strict=True):
            answers[row].append(answer)
    return answers
