"""What DPG-Bench and DSG share: yes/no questions of one CSV layout, some of which depend on others.

Scores are one row per image and question.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pyarrow as pa
from pydantic import Field

from comat_core.metrics.dsg import Dependencies, Mode, parse_dependencies, read_dependency, read_question_id
from comat_core.support.errors import UserError
from stages.evaluate.scoring.image_scores import identity_of
from stages.evaluate.scoring.images.generated_images import GeneratedImage
from stages.evaluate.scoring.questions.free_answers import QuestionsConfig, ask_images, load_answerer
from stages.evaluate.scoring.questions.question_files import ADVICE, Row
from stages.evaluate.scoring.questions.question_items import Item, gather_items
from stages.evaluate.scoring.questions.question_scores import compare_questions, question_rows
from stages.plan.stage import Inputs
from stages.prompts.cleaning import normalise
from stages.store.artifact_writer import ArtifactWriter

COLUMNS = ("item_id", "text", "proposition_id", "dependency", "tuple", "question_natural_language")


@dataclass(frozen=True)
class DependentQuestion:
    """A yes/no question.

    Attributes:
        number: by which other questions of its item name it as their parent.
        dependency: the cell that names its own parents.
    """

    number: int
    dependency: str
    kind: str
    text: str


ScoreImage = Callable[[Sequence[DependentQuestion], Mapping[int, str], Mode], dict[int, float]]
"""(questions, question id -> answer, mode) -> question id -> its score."""


class DependentQuestionsConfig(QuestionsConfig):
    """Settings of DPG-Bench and DSG."""

    mode: Mode = Field(
        default="corrected", description="official repeats the authors' scripts with their faults; corrected mends them"
    )

    def read_items(self) -> list[Item[DependentQuestion]]:
        items = gather_items(self._read_rows())
        return [replace(item, questions=tuple(_last_of_each(item.questions))) for item in items]

    def _read_rows(self) -> Iterator[tuple[str, str, DependentQuestion]]:
        """Item id, text and question of each row; rows without an id get one from their text."""
        seen: dict[tuple[str, str], set[int]] = {}
        turns: Counter[str] = Counter()
        for row in self.questions.read_csv(COLUMNS)[self.lost_rows() :]:
            text, question, identity = row.text("text"), self._read_question(row), row.identity("item_id")
            key = normalise(text)
            if identity is None and question.number in seen.get((f"{turns[key]}", key), ()):
                turns[key] += 1  # the next item with this text
            identity = f"{turns[key]}" if identity is None else f"id {identity}"
            numbers = seen.setdefault((identity, key), set())
            if question.number in numbers and self.mode == "corrected":
                what = f"the proposition_id {question.number} stands twice in one item"
                raise UserError(what, row.where, "number its questions apart; the official mode takes the last")
            numbers.add(question.number)
            yield identity, text, question

    def _read_question(self, row: Row) -> DependentQuestion:
        cell = row.optional_text("dependency")
        try:
            number = read_question_id(row.text("proposition_id"))
            self.check_dependency(cell)
        except ValueError as error:
            raise UserError(str(error), row.where, ADVICE) from error
        kind = row.optional_text("tuple").split("(")[0].strip()
        return DependentQuestion(number, cell, kind, row.text("question_natural_language"))

    def check_dependency(self, cell: str) -> None:
        """Check that the mode can read a dependency cell.

        Raises:
            ValueError: it cannot.
        """
        if self.mode == "corrected":
            read_dependency(cell)

    def lost_rows(self) -> int:
        """How many rows the benchmark's own script loses of the file's beginning, in the official mode."""
        return 0


def _last_of_each(questions: Iterable[DependentQuestion]) -> Iterable[DependentQuestion]:
    """One question for each number, as the authors' scripts keep them: the last one, in the first one's place."""
    return {question.number: question for question in questions}.values()


def dependencies_of(questions: Sequence[DependentQuestion], mode: Mode) -> Dependencies:
    """The parents of one prompt's questions."""
    return parse_dependencies({question.number: question.dependency for question in questions}, mode)


def score_answers(
    config: DependentQuestionsConfig,
    images: Sequence[GeneratedImage],
    questions: Mapping[str, Sequence[DependentQuestion]],
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
    texts = {key: [question.text for question in of_prompt] for key, of_prompt in questions.items()}
    answers = ask_images(asked, texts, load_answerer(config), config)
    items: list[dict[str, Any]] = []
    for image, given in zip(asked, answers, strict=True):
        of_prompt = questions[image.prompt_id]
        ids = [question.number for question in of_prompt]
        by_id = dict(zip(ids, given, strict=True))
        score_of = score_image(of_prompt, by_id, config.mode)
        scores = [score_of[one] for one in ids]
        counted = [float(by_id[one] == "yes") for one in ids] if categories_as_answered else scores
        kinds = [question.kind for question in of_prompt]
        items += question_rows(identity_of(image), texts[image.prompt_id], kinds, given, scores, counted)
    return items


def compare_dependent_questions(
    config: DependentQuestionsConfig,
    inputs: Inputs,
    writer: ArtifactWriter,
    benchmark: str,
    title: str,
    *,
    categories_of_last_images: bool = False,
) -> None:
    """Join the models' items and summarise them.

    Args:
        categories_of_last_images: let the last image of each prompt alone count for the categories.
    """
    chosen = _without_categories_of_earlier_images if categories_of_last_images else None
    compare_questions(config, inputs, writer, benchmark, f"{title} ({config.mode} mode)", chosen)


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
