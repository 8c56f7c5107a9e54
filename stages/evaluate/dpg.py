"""DPG-Bench: yes/no questions about dense prompts, with dependencies that cascade; see `comat_core.metrics.dpg`.

Both modes score single images, four of each prompt as images.samples should say; no grid is put together and cut again.
"""

from collections.abc import Mapping, Sequence
from typing import ClassVar

from pydantic import Field

from comat_core.metrics import dpg
from comat_core.metrics.dsg import Mode, parse_dependencies
from stages.artifacts import ArtifactWriter
from stages.evaluate.dependent_questions import (
    DependentQuestionsConfig,
    Row,
    read_questions,
    score_part,
    summarise,
)
from stages.evaluate.question_files import QuestionFile
from stages.evaluate.settings import count_parts
from stages.stage import Inputs, ShardedStage


class DpgConfig(DependentQuestionsConfig):
    """Settings of DPG-Bench."""

    split: ClassVar[str] = "dpg"

    questions: QuestionFile = Field(default=QuestionFile(source="dpg_bench/questions"), description="the authors' CSV")


def build_shard(config: DpgConfig, inputs: Inputs, writer: ArtifactWriter, index: int) -> None:
    """Score the images of one part."""
    is_official = config.mode == "official"
    questions = {
        key: rows
        for key, rows in read_questions(config, inputs, loses_first_row=is_official).items()
        if not (is_official and _depends_on_lost_row(rows))
    }
    score_part(config, inputs, writer, index, questions, score_image, categories_of_last_answers=is_official)


def build_rest(config: DpgConfig, inputs: Inputs, writer: ArtifactWriter) -> None:
    """Join the shards and summarise them."""
    summarise(config, inputs, writer, "dpg", "DPG-Bench")


def score_image(rows: Sequence[Row], answers: Mapping[int, str], mode: Mode) -> dict[int, float]:
    """Score one image: 1 for a "yes" that no ancestor's "no" rules out."""
    return dpg.score_image(answers, _prompt_questions(rows, mode), mode)


def _prompt_questions(rows: Sequence[Row], mode: Mode) -> dpg.PromptQuestions:
    return dpg.PromptQuestions(
        {int(row["proposition_id"]): row["tuple"].split("(")[0].strip() for row in rows},
        parse_dependencies({int(row["proposition_id"]): row["dependency"] for row in rows}, mode),
    )


def _depends_on_lost_row(rows: Sequence[Row]) -> bool:
    """Whether the authors' script fails on the prompt, and so leaves it out: a parent is not among its questions."""
    prompt = _prompt_questions(rows, "official")
    return any(parent not in prompt.categories for parents in prompt.dependencies.values() for parent in parents)


STAGE = ShardedStage(
    name="evaluate.dpg",
    version=1,
    config_type=DpgConfig,
    inputs=("prompts", "base", "tuned"),
    optional_inputs=("other",),
    count_shards=count_parts,
    build_shard=build_shard,
    build_rest=build_rest,
)
run = STAGE.run
