"""What DPG-Bench and DSG share: yes/no questions of one CSV layout, some of which depend on others.

Writes `items/*.parquet` (one row per image and question) and `summary.json`.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pyarrow as pa
from pydantic import Field

from comat_core.metrics.dsg import Mode
from stages.artifacts import ArtifactWriter
from stages.evaluate.answers import QuestionsConfig, ask_images, load_answerer
from stages.evaluate.question_files import QuestionFile, by_prompt
from stages.evaluate.question_scores import QUESTION_COLUMNS, question_rows, summarise_questions
from stages.evaluate.settings import chosen_prompts, images_of_part
from stages.evaluate.summaries import join_parts, part_name, write_summary
from stages.stage import Inputs

COLUMNS = ("item_id", "text", "proposition_id", "dependency", "tuple", "question_natural_language")
Row = Mapping[str, str]
ScoreImage = Callable[[Sequence[Row], Mapping[int, str], Mode], dict[int, float]]
"""(questions, question id -> answer, mode) -> question id -> its score."""


class DependentQuestionsConfig(QuestionsConfig):
    """Settings of DPG-Bench and DSG."""

    questions: QuestionFile = Field(description="the benchmark's CSV file")
    mode: Mode = Field(
        default="corrected", description="official repeats the authors' scripts with their faults; corrected mends them"
    )

    def key_payload(self) -> dict[str, Any]:
        return {**super().key_payload(), "questions": self.questions.content_identity()}


def read_questions(
    config: DependentQuestionsConfig, inputs: Inputs, *, loses_first_row: bool = False
) -> dict[str, list[Row]]:
    """Prompt id -> its questions, in the file's order."""
    rows = config.questions.read_csv(COLUMNS)
    prompts = chosen_prompts(config, inputs)
    return by_prompt(rows[1:] if loses_first_row else rows, "text", prompts, str(config.questions.local_path()))


def score_part(
    config: DependentQuestionsConfig,
    inputs: Inputs,
    writer: ArtifactWriter,
    index: int,
    questions: Mapping[str, Sequence[Row]],
    score_image: ScoreImage,
    *,
    categories_of_last_answers: bool = False,
) -> None:
    """Ask and score the images of one part.

    Args:
        categories_of_last_answers: let a prompt's last image alone count for the categories, by its answers as given.
    """
    images = images_of_part(inputs, index, questions)
    items: list[dict[str, Any]] = []
    if images:
        texts = {key: [row["question_natural_language"] for row in rows] for key, rows in questions.items()}
        answers = ask_images(images, texts, load_answerer(config), config)
        last = {image.prompt_id: image.sample for image in sorted(images, key=lambda image: image.sample)}
        for image, given in zip(images, answers, strict=True):
            rows = questions[image.prompt_id]
            by_id = {int(row["proposition_id"]): answer for row, answer in zip(rows, given, strict=True)}
            scores = score_image(rows, by_id, config.mode)
            ids = [int(row["proposition_id"]) for row in rows]
            counted: list[float | None] = [scores[one] for one in ids]
            if categories_of_last_answers:
                is_last = image.sample == last[image.prompt_id]
                counted = [float(by_id[one] == "yes") if is_last else None for one in ids]
            identity = {"model": image.model, "prompt_id": image.prompt_id, "sample": image.sample}
            kinds = [row["tuple"].split("(")[0].strip() for row in rows]
            items += question_rows(
                identity, texts[image.prompt_id], kinds, given, [scores[one] for one in ids], counted
            )
    writer.write_table(part_name(index), pa.Table.from_pylist(items, schema=pa.schema(QUESTION_COLUMNS)))


def summarise(
    config: DependentQuestionsConfig, inputs: Inputs, writer: ArtifactWriter, benchmark: str, title: str
) -> None:
    """Join the shards and summarise them."""
    protocol = f"{title} ({config.mode} mode), answers by {config.vqa.path} in place of mPLUG-large, shares of 1"
    skills = {key: prompt.skill for key, prompt in chosen_prompts(config, inputs).items()}
    table = join_parts(writer, benchmark)
    write_summary(
        writer, summarise_questions(table, benchmark, protocol=protocol, skills=skills, config=config), inputs
    )
