"""DPG-Bench: yes/no questions about dense prompts, with dependencies that cascade; see `comat_core.metrics.dpg`.

Both modes score single images, four of each prompt as images.samples should say; no grid is put together and cut again.
"""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar

import pyarrow as pa
from pydantic import Field

from comat_core.metrics import dpg
from comat_core.metrics.dsg import Mode
from stages.artifacts import ArtifactWriter
from stages.evaluate.dependent_questions import (
    DependentQuestionsConfig,
    Row,
    dependencies_of,
    read_questions,
    score_answers,
    summarise,
)
from stages.evaluate.generated_images import GeneratedImage, Prompt
from stages.evaluate.image_evaluation import image_evaluation
from stages.evaluate.question_files import QuestionFile, published_as
from stages.evaluate.question_scores import QUESTION_COLUMNS
from stages.stage import Inputs


class DpgConfig(DependentQuestionsConfig):
    """Settings of DPG-Bench."""

    split: ClassVar[str] = "dpg"

    questions: Annotated[QuestionFile, published_as("dpg_bench/questions")] = Field(
        default=QuestionFile(source="dpg_bench/questions"), description="the authors' CSV"
    )


def score_images(
    config: DpgConfig, images: Sequence[GeneratedImage], prompts: Mapping[str, Prompt]
) -> list[dict[str, Any]]:
    """Ask and score every image; return one row of the items table per image and question."""
    is_official = config.mode == "official"
    questions = {
        key: rows
        for key, rows in read_questions(config, prompts, loses_first_row=is_official).items()
        if not (is_official and _depends_on_lost_row(rows))
    }
    return score_answers(config, images, questions, score_image, categories_as_answered=is_official)


def build_rest(config: DpgConfig, inputs: Inputs, writer: ArtifactWriter) -> None:
    """Join the shards and summarise them."""
    is_official = config.mode == "official"
    summarise(config, inputs, writer, "dpg", "DPG-Bench", categories_of_last_images=is_official)


def score_image(rows: Sequence[Row], answers: Mapping[int, str], mode: Mode) -> dict[int, float]:
    """Score one image: 1 for a "yes" that no ancestor's "no" rules out."""
    return dpg.score_image(answers, dependencies_of(rows, mode), mode)


def _depends_on_lost_row(rows: Sequence[Row]) -> bool:
    """Whether the authors' script fails on the prompt, and so leaves it out: a parent is not among its questions."""
    known = {int(row["proposition_id"]) for row in rows}
    return any(not known.issuperset(parents) for parents in dependencies_of(rows, "official").values())


STAGE = image_evaluation(
    name="evaluate.dpg",
    version=2,
    config_type=DpgConfig,
    schema=pa.schema(QUESTION_COLUMNS),
    score=score_images,
    build_rest=build_rest,
)
run = STAGE.run
