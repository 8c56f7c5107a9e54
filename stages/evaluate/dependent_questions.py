"""What DPG-Bench and DSG share: yes/no questions of one CSV layout, some of which depend on others.

Writes `items/*.parquet` (one row per image and question) and `summary.json`.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from pydantic import Field

from comat_core.metrics.dsg import Mode
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
    """Prompt id -> its questions, in the file's order."""
    rows = config.questions.read_csv(COLUMNS)
    return by_prompt(rows[1:] if loses_first_row else rows, "text", prompts, str(config.questions.local_path()))


def score_answers(
    config: DependentQuestionsConfig,
    images: Sequence[GeneratedImage],
    questions: Mapping[str, Sequence[Row]],
    score_image: ScoreImage,
    *,
    categories_of_last_answers: bool = False,
) -> list[dict[str, Any]]:
    """Ask and score the images whose prompts have questions; return one row of the items table per image and question.

    Args:
        categories_of_last_answers: let a prompt's last image alone count for the categories, by its answers as given.
    """
    asked = [image for image in images if image.prompt_id in questions]
    if not asked:
        return []
    texts = {key: [row["question_natural_language"] for row in rows] for key, rows in questions.items()}
    answers = ask_images(asked, texts, load_answerer(config), config)
    last = {image.prompt_id: image.sample for image in sorted(asked, key=lambda image: image.sample)}
    items: list[dict[str, Any]] = []
    for image, given in zip(asked, answers, strict=True):
        rows = questions[image.prompt_id]
        ids = [int(row["proposition_id"]) for row in rows]
        by_id = dict(zip(ids, given, strict=True))
        score_of = score_image(rows, by_id, config.mode)
        scores = [score_of[one] for one in ids]
        counted: list[float | None] = [*scores]
        if categories_of_last_answers:
            is_last = image.sample == last[image.prompt_id]
            counted = [float(by_id[one] == "yes") if is_last else None for one in ids]
        kinds = [row["tuple"].split("(")[0].strip() for row in rows]
        items += question_rows(identity_of(image), texts[image.prompt_id], kinds, given, scores, counted)
    return items


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
