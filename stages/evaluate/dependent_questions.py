"""What DPG-Bench and DSG share: yes/no questions of one CSV layout, some of which depend on others.

Writes `items/*.parquet` (one row per image and question) and `summary.json`.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pyarrow as pa
from pydantic import Field

from comat_core.errors import UserError
from comat_core.metrics.dsg import Dependencies, Mode, parse_dependencies
from stages.artifacts import ArtifactWriter
from stages.evaluate.answers import QuestionsConfig, ask_images, load_answerer
from stages.evaluate.generated_images import GeneratedImage, Prompt
from stages.evaluate.image_evaluation import identity_of
from stages.evaluate.question_files import by_prompt
from stages.evaluate.question_scores import question_rows, summarise_questions
from stages.evaluate.settings import chosen_prompts
from stages.evaluate.summaries import join_parts, write_summary
from stages.stage import Inputs

COLUMNS = ("item_id", "text", "proposition_id", "dependency", "tuple", "question_natural_language")
Row = Mapping[str, str]
ScoreImage = Callable[[Sequence[Row], Mapping[int, str], Mode], dict[int, float]]
"""(questions, question id -> answer, mode) -> question id -> its score."""


class DependentQuestionsConfig(QuestionsConfig):
    """Settings of DPG-Bench and DSG."""

    mode: Mode = Field(
        default="corrected", description="official repeats the authors' scripts with their faults; corrected mends them"
    )


def read_questions(
    config: DependentQuestionsConfig, prompts: Mapping[str, Prompt], *, loses_first_row: bool = False
) -> dict[str, list[Row]]:
    """Prompt id -> its questions, in the file's order.

    Raises:
        UserError: the file is malformed, or none of the prompts stands in it.
    """
    rows, where = config.questions.read_csv(COLUMNS), str(config.questions.local_path())
    for number, row in enumerate(rows, 1):
        if not row["proposition_id"].strip().isdecimal():
            what = f"the proposition_id {row['proposition_id']!r} is no number"
            raise UserError(what, f"{where}, question {number}", "get the original file")
    return by_prompt(rows[1:] if loses_first_row else rows, "text", prompts, where)


def dependencies_of(rows: Sequence[Row], mode: Mode) -> Dependencies:
    """The parents of one prompt's questions."""
    return parse_dependencies({int(row["proposition_id"]): row["dependency"] for row in rows}, mode)


def score_answers(
    config: DependentQuestionsConfig,
    images: Sequence[GeneratedImage],
    questions: Mapping[str, Sequence[Row]],
    score_image: ScoreImage,
    *,
    categories_as_answered: bool = False,
) -> list[dict[str, Any]]:
    """Ask and score the images whose prompts have questions; return one row of the items table per image and question.

    Args:
        categories_as_answered: let the answers count for the categories whatever their questions depend on.
    """
    asked = [image for image in images if image.prompt_id in questions]
    if not asked:
        return []
    texts = {key: [row["question_natural_language"] for row in rows] for key, rows in questions.items()}
    answers = ask_images(asked, texts, load_answerer(config), config)
    items: list[dict[str, Any]] = []
    for image, given in zip(asked, answers, strict=True):
        rows = questions[image.prompt_id]
        ids = [int(row["proposition_id"]) for row in rows]
        by_id = dict(zip(ids, given, strict=True))
        score_of = score_image(rows, by_id, config.mode)
        scores = [score_of[one] for one in ids]
        counted = [float(by_id[one] == "yes") for one in ids] if categories_as_answered else scores
        kinds = [row["tuple"].split("(")[0].strip() for row in rows]
        items += question_rows(identity_of(image), texts[image.prompt_id], kinds, given, scores, counted)
    return items


def summarise(
    config: DependentQuestionsConfig,
    inputs: Inputs,
    writer: ArtifactWriter,
    benchmark: str,
    title: str,
    *,
    categories_of_last_images: bool = False,
) -> None:
    """Join the shards and summarise them.

    Args:
        categories_of_last_images: let the last image of each prompt alone count for the categories.
    """
    protocol = f"{title} ({config.mode} mode), answers by {config.vqa.path} in place of mPLUG-large, shares of 1"
    skills = {key: prompt.skill for key, prompt in chosen_prompts(config, inputs).items()}
    table = join_parts(writer, benchmark)
    if categories_of_last_images:
        table = _without_categories_of_earlier_images(table)
    write_summary(
        writer, summarise_questions(table, benchmark, protocol=protocol, skills=skills, config=config), inputs
    )


def _without_categories_of_earlier_images(items: pa.Table) -> pa.Table:
    """Clear `category_score` where the prompt has a later image: here, because a shard may hold some of them only."""
    images = list(
        zip(items["model"].to_pylist(), items["prompt_id"].to_pylist(), items["sample"].to_pylist(), strict=True)
    )
    last: dict[tuple[str, str], int] = {}
    for model, prompt_id, sample in images:
        last[model, prompt_id] = max(sample, last.get((model, prompt_id), 0))
    scores = [
        score if sample == last[model, prompt_id] else None
        for (model, prompt_id, sample), score in zip(images, items["category_score"].to_pylist(), strict=True)
    ]
    column = items.column_names.index("category_score")
    return items.set_column(column, "category_score", pa.array(scores, pa.float64()))
