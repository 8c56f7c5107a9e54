"""The items of a benchmark's file of questions, and which prompts of a run they belong to."""

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Generic, TypeVar

from comat_core.support.errors import UserError
from stages.evaluate.scoring.images.generated_images import Prompt
from stages.evaluate.scoring.questions.question_files import QuestionFile
from stages.evaluate.scoring.settings import EvaluationConfig, prompts_of
from stages.prompts.cleaning import normalise
from stages.store.artifacts import Artifact

logger = logging.getLogger("comat")

Question = TypeVar("Question")


@dataclass(frozen=True)
class Item(Generic[Question]):
    """A prompt of a benchmark and what is asked about its images.

    Attributes:
        identity: tells it from other items with the same text; None where the file says nothing of that.
        text: the prompt.
    """

    identity: str | None
    text: str
    questions: tuple[Question, ...]


@dataclass(frozen=True)
class Matched(Generic[Question]):
    """What a file asks about the prompts of a run.

    Attributes:
        questions: prompt id -> its questions, in the file's order. A prompt that the file lacks has none here.
        lacking: prompts that the file lacks.
        left_over: items whose text the run has, but fewer times than the file.
    """

    questions: dict[str, tuple[Question, ...]]
    lacking: tuple[Prompt, ...]
    left_over: int

    @property
    def told(self) -> str:
        """How many prompts cannot be scored."""
        count, total = len(self.lacking), len(self.lacking) + len(self.questions)
        return f"{count:,} of {total:,} prompts have no questions and so no score"

    @property
    def in_protocol(self) -> str:
        """The same as the end of a protocol, empty if all can be scored."""
        return f"; {self.told}" if self.lacking else ""


class QuestionedConfig(EvaluationConfig):
    """Settings of every evaluation that a file of questions tells what to look for."""

    def question_file(self) -> QuestionFile:
        """Where the questions stand."""
        raise NotImplementedError

    def read_items(self) -> list[Item]:
        """Read the whole file.

        Raises:
            UserError: it cannot be had, or one of its rows is malformed.
        """
        raise NotImplementedError

    def fetch_files(self) -> None:
        self.read_items()

    def check_prompts(self, prompts: Artifact) -> None:
        matched = self.match(prompts_of(self, prompts))
        name, where = f"evaluate.{self.split}", self.question_file().local_path()
        if matched.lacking:
            logger.warning("%s: %s (%s), such as %r", name, matched.told, where, matched.lacking[0].text[:80])
        if matched.left_over:
            logger.warning(
                "%s: %d items of %s have a text that the run's prompts hold fewer times", name, matched.left_over, where
            )

    def match(self, prompts: Mapping[str, Prompt]) -> Matched:
        """Find the questions of the prompts; see `match_items`."""
        return match_items(self.read_items(), prompts, str(self.question_file().local_path()))


def gather_items(rows: Iterable[tuple[str | None, str, Question]]) -> list[Item[Question]]:
    """Put the rows of a file, each with an item's id, its text and a question, together.

    Rows without an id belong to one item as long as the text stays the same.
    """
    named: dict[tuple[str, str], list[Question]] = {}
    places: list[tuple[tuple[str, str] | None, Item[Question]]] = []
    for (identity, text), block in groupby(rows, key=lambda row: (row[0], normalise(row[1]))):
        questions = [question for _, _, question in block]
        if identity is None:
            places.append((None, Item(None, text, tuple(questions))))
            continue
        if (identity, text) not in named:
            places.append(((identity, text), Item(identity, text, ())))
        named.setdefault((identity, text), []).extend(questions)
    return [item if key is None else replace(item, questions=tuple(named[key])) for key, item in places]


def match_items(items: Sequence[Item[Question]], prompts: Mapping[str, Prompt], where: str) -> Matched[Question]:
    """Find the questions of a run's prompts by their texts, normalised as the prompts stage does it.

    Of several items with the same text each belongs to one of the prompts with that text, in the order of both.
    Prompts beyond the last item share its questions; of items without ids, which may be pieces of one, a single prompt
    gets all.

    Raises:
        UserError: none of the prompts stands in the file.
    """
    by_text: dict[str, list[Item[Question]]] = {}
    for item in items:
        by_text.setdefault(normalise(item.text), []).append(item)
    keys_of: dict[str, list[str]] = {}
    for key, prompt in prompts.items():
        keys_of.setdefault(normalise(prompt.text), []).append(key)
    questions: dict[str, tuple[Question, ...]] = {}
    left_over = 0
    for text, keys in keys_of.items():
        found = [item.questions for item in by_text.get(text, [])]
        if len(found) > len(keys) and all(item.identity is None for item in by_text[text]):
            found = [tuple(question for of_piece in found for question in of_piece)]
        left_over += max(0, len(found) - len(keys))
        questions |= {key: found[min(place, len(found) - 1)] for place, key in enumerate(keys) if found}
    if not questions:
        advice = "let the prompts stage have the benchmark's prompts in the evaluation's split"
        raise UserError("no prompt of the run stands in the file of questions", where, advice)
    lacking = tuple(prompt for key, prompt in prompts.items() if key not in questions)
    return Matched({key: questions[key] for key in prompts if key in questions}, lacking, left_over)
