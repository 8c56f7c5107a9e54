"""DPG-Bench: yes/no questions about dense prompts, with dependencies that cascade; see `comat_core.metrics.dpg`.

Both modes score single images, four of each prompt as images.samples should say; no grid is put together and cut again.
"""

import re
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Annotated, Any, ClassVar

import pyarrow as pa
from pydantic import Field

from comat_core.metrics import dpg
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


class DpgConfig(DependentQuestionsConfig):
    """Settings of DPG-Bench."""

    split: ClassVar[str] = "dpg"

    questions: Annotated[QuestionFile, published_as("dpg_bench/questions")] = Field(
        default=QuestionFile(source="dpg_bench/questions"), description="the authors' CSV"
    )

    def lost_rows(self) -> int:
        return 1 if self.mode == "official" else 0

    def check_dependency(self, cell: str) -> None:
        super().check_dependency(cell)
        if self.mode == "official" and not all(re.fullmatch(r"\s*-?[0-9]{1,9}\s*", part) for part in cell.split(",")):
            raise ValueError(f"the authors' script cannot read the dependency {cell!r}")


def score_images(
    config: DpgConfig, images: Sequence[GeneratedImage], prompts: Mapping[str, Prompt]
) -> list[dict[str, Any]]:
    """Ask and score every image; return one row of the items table per image and question."""
    is_official = config.mode == "official"
    questions = {
        key: of_prompt
        for key, of_prompt in config.match(prompts).questions.items()
        if not (is_official and _depends_on_lost_row(of_prompt))
    }
    return score_answers(config, images, questions, score_image, categories_as_answered=is_official)


def compare(config: DpgConfig, inputs: Inputs, writer: ArtifactWriter) -> None:
    """Join the models' items and summarise them."""
    is_official = config.mode == "official"
    compare_dependent_questions(config, inputs, writer, "dpg", "DPG-Bench", categories_of_last_images=is_official)


def score_image(questions: Sequence[DependentQuestion], answers: Mapping[int, str], mode: Mode) -> dict[int, float]:
    """Score one image: 1 for a "yes" that no ancestor's "no" rules out."""
    return dpg.score_image(answers, dependencies_of(questions, mode), mode)


def _depends_on_lost_row(questions: Sequence[DependentQuestion]) -> bool:
    """Whether the authors' script fails on the prompt, and so leaves it out: a parent is not among its questions."""
    known = {question.number for question in questions}
    return any(not known.issuperset(parents) for parents in dependencies_of(questions, "official").values())


SCORES = image_scores(
    benchmark="dpg",
    version=1,
    config_type=DpgConfig,
    schema=pa.schema(QUESTION_COLUMNS),
    score=score_images,
)
STAGE = comparison(
    benchmark="dpg",
    version=4,
    config_type=DpgConfig,
    compare=compare,
)
BENCHMARK = Benchmark(
    name="dpg",
    place=80,
    split=DpgConfig.split,
    metrics=(
        Metric(
            name="dpg",
            label="DPG-Bench",
            meaning="share of a dense prompt's questions answered yes, and so their ancestors",
            headline=100,
            ranking=50,
            in_prompt_table=True,
            is_drawn=True,
        ),
    ),
    scores=SCORES,
    read_item=partial(read_question, "dpg"),
    explain_item=explain_question,
)
