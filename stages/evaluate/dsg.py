"""DSG: yes/no questions, some of which presuppose others; see `comat_core.metrics.dsg`."""

from collections.abc import Mapping, Sequence
from typing import ClassVar

from pydantic import Field

from comat_core.metrics.dsg import Mode, parse_dependencies, score_item
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


class DsgConfig(DependentQuestionsConfig):
    """Settings of DSG."""

    split: ClassVar[str] = "dsg"

    questions: QuestionFile = Field(default=QuestionFile(source="dsg/prompts"), description="the authors' CSV file")


def build_shard(config: DsgConfig, inputs: Inputs, writer: ArtifactWriter, index: int) -> None:
    """Score the images of one part."""
    score_part(config, inputs, writer, index, read_questions(config, inputs), score_image)


def build_rest(config: DsgConfig, inputs: Inputs, writer: ArtifactWriter) -> None:
    """Join the shards and summarise them."""
    summarise(config, inputs, writer, "dsg", "DSG")


def score_image(rows: Sequence[Row], answers: Mapping[int, str], mode: Mode) -> dict[int, float]:
    """Score one image: 1 for a "yes" whose parents are answered "yes"."""
    item = score_item(
        answers, parse_dependencies({int(row["proposition_id"]): row["dependency"] for row in rows}, mode)
    )
    return {one: float(item.answers_right[one] and item.valid[one]) for one in answers}


STAGE = ShardedStage(
    name="evaluate.dsg",
    version=1,
    config_type=DsgConfig,
    inputs=("prompts", "base", "tuned"),
    optional_inputs=("other",),
    count_shards=count_parts,
    build_shard=build_shard,
    build_rest=build_rest,
)
run = STAGE.run
