"""TIFA: multiple-choice questions about each image; see `comat_core.metrics.tifa`.

Scores are one row per image and question; `answer` is the model's own, before the choice. A model's score is the mean
over images of the mean over their questions; a category's pools its questions.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any, ClassVar, Self

import pyarrow as pa
from pydantic import Field

from comat_core.metrics.tifa import choose
from stages.evaluate.declared.benchmark import Benchmark, Metric
from stages.evaluate.scoring.comparisons import comparison
from stages.evaluate.scoring.image_scores import identity_of, image_scores
from stages.evaluate.scoring.images.generated_images import GeneratedImage, Prompt
from stages.evaluate.scoring.models_in_memory import loaded_model
from stages.evaluate.scoring.questions.free_answers import QuestionsConfig, ask_images, load_answerer
from stages.evaluate.scoring.questions.question_files import QuestionFile, Row, published_as
from stages.evaluate.scoring.questions.question_items import Item, gather_items
from stages.evaluate.scoring.questions.question_scores import (
    QUESTION_COLUMNS,
    compare_questions,
    explain_question,
    question_rows,
    read_question,
)
from stages.plan.config import ModelReference
from stages.plan.stage import Inputs
from stages.store.artifact_writer import ArtifactWriter

METRIC = "tifa"
FIELDS = ("caption", "question", "choices", "answer", "element_type")


@dataclass(frozen=True)
class TifaQuestion:
    """A question with the choices and the right one of them."""

    text: str
    choices: tuple[str, ...]
    answer: str
    element_type: str

    @classmethod
    def of(cls, row: Row) -> Self:
        """Read a row of the file.

        Raises:
            UserError: it lacks something, or has something of another type.
        """
        return cls(row.text("question"), row.texts("choices"), row.text("answer"), row.text("element_type"))


class TifaConfig(QuestionsConfig):
    """Settings of TIFA."""

    split: ClassVar[str] = "tifa"

    questions: Annotated[QuestionFile, published_as("tifa/question_answers")] = Field(
        default=QuestionFile(source="tifa/question_answers"), description="the authors' JSON file"
    )
    sentence_encoder: ModelReference = Field(
        default=ModelReference(path="sentence-transformers/all-mpnet-base-v2"),
        description="finds the choice nearest to an answer that is none",
    )

    def read_items(self) -> list[Item[TifaQuestion]]:
        rows = self.questions.read_json(FIELDS)
        return gather_items((row.identity("id"), row.text("caption"), TifaQuestion.of(row)) for row in rows)


def score_images(
    config: TifaConfig, images: Sequence[GeneratedImage], prompts: Mapping[str, Prompt]
) -> list[dict[str, Any]]:
    """Ask every image its prompt's questions; return one row of the items table per image and question."""
    from comat_core.scorers.sentence_similarity import SentenceSimilarity

    questions = config.match(prompts).questions
    asked = [image for image in images if image.prompt_id in questions]
    if not asked:
        return []
    texts = {key: [question.text for question in of_prompt] for key, of_prompt in questions.items()}
    answers = ask_images(asked, texts, load_answerer(config), config)
    nearness = loaded_model(SentenceSimilarity.load, config.sentence_encoder, config.device)
    items: list[dict[str, Any]] = []
    for image, given in zip(asked, answers, strict=True):
        of_prompt = questions[image.prompt_id]
        scores = [
            float(choose(answer, question.choices, nearness) == question.answer)
            for question, answer in zip(of_prompt, given, strict=True)
        ]
        types = [question.element_type for question in of_prompt]
        items += question_rows(identity_of(image), texts[image.prompt_id], types, given, scores, scores)
    return items


def compare(config: TifaConfig, inputs: Inputs, writer: ArtifactWriter) -> None:
    """Join the models' items and summarise them."""
    compare_questions(config, inputs, writer, METRIC, "TIFA")


SCORES = image_scores(
    benchmark="tifa",
    version=1,
    config_type=TifaConfig,
    schema=pa.schema(QUESTION_COLUMNS),
    score=score_images,
)
STAGE = comparison(
    benchmark="tifa",
    version=3,
    config_type=TifaConfig,
    compare=compare,
)
BENCHMARK = Benchmark(
    name=METRIC,
    place=70,
    split=TifaConfig.split,
    metrics=(
        Metric(
            name=METRIC,
            label="TIFA",
            meaning="share of an image's multiple-choice questions that are answered right",
            headline=90,
            ranking=40,
            in_prompt_table=True,
            is_drawn=True,
        ),
    ),
    scores=SCORES,
    read_item=partial(read_question, METRIC),
    explain_item=explain_question,
)
