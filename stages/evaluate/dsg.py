"""DSG: yes/no questions, some of which presuppose others; see `comat_core.metrics.dsg`."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Annotated, Any, ClassVar

import pyarrow as pa
from pydantic import Field

from comat_core.metrics import dsg
from comat_core.metrics.dsg import Mode
from stages.evaluate.declared.benchmark import Benchmark, Metric
from stages.evaluate.scoring.comparisons import comparison
from stages.evaluate.scoring.image_scores import image_scores
from stages.evaluate.scoring.images.generated_images import GeneratedImage, Prompt
from stages.evaluate.scoring.questions.dependent_questions import (
    DependentQuestion,
    DependentQuestionsConfig,
    compare_dependent_questions,
    dependencies_of,
    score_answers,
)
from stages.evaluate.scoring.questions.question_files import QuestionFile, published_as
from stages.evaluate.scoring.questions.question_scores import QUESTION_COLUMNS, explain_question, read_question
from stages.plan.stage import Inputs
from stages.store.artifact_writer import ArtifactWriter


class DsgConfig(DependentQuestionsConfig):
    """Settings of DSG."""

    split: ClassVar[str] = "dsg"

    questions: Annotated[QuestionFile, published_as("dsg/prompts")] = Field(
        default=QuestionFile(source="dsg/prompts"), description="the authors' CSV file"
    )


def score_images(
    config: DsgConfig, images: Sequence[GeneratedImage], prompts: Mapping[str, Prompt]
) -> list[dict[str, Any]]:
    """Ask and score every image; return one row of the items table per image and question."""
    return score_answers(config, images, config.match(prompts).questions, score_image)


def compare(config: DsgConfig, inputs: Inputs, writer: ArtifactWriter) -> None:
    """Join the models' items and summarise them."""
    compare_dependent_questions(config, inputs, writer, "dsg", "DSG")


def score_image(questions: Sequence[DependentQuestion], answers: Mapping[int, str], mode: Mode) -> dict[int, float]:
    """Score one image: 1 for a "yes" whose parents are answered "yes"."""
    return dsg.score_image(answers, dependencies_of(questions, mode))


SCORES = image_scores(
    benchmark="dsg",
    version=1,
    config_type=DsgConfig,
    schema=pa.schema(QUESTION_COLUMNS),
    score=score_images,
)
STAGE = comparison(
    benchmark="dsg",
    version=3,
    config_type=DsgConfig,
    compare=compare,
)
BENCHMARK = Benchmark(
    name="dsg",
    place=90,
    split=DsgConfig.split,
    metrics=(
        Metric(
            name="dsg",
            label="DSG",
            meaning="share of a prompt's questions answered yes, and so their parents",
            headline=110,
            ranking=60,
            in_prompt_table=True,
            is_drawn=True,
        ),
    ),
    scores=SCORES,
    read_item=partial(read_question, "dsg"),
    explain_item=explain_question,
)
