"""DPG-Bench: yes/no questions about four images of a long prompt, with dependencies that cascade.

A question counts only if its parents count, and so on upwards.

Modes. "official" repeats the authors' script, faults included: the first row of the question file is lost, with it
every prompt whose questions depend on that row, without a word; parents are tested in the order of the file, so that a
parent further down is tested before its own parents are; category scores look at the last image alone and disregard
dependencies. "corrected" uses every row, tests all ancestors in any order, and averages categories over all images with
dependencies counted.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from comat_core.metrics.dsg import Dependencies, Mode, parse_dependencies


@dataclass(frozen=True)
class Question:
    """One row of the question file."""

    item_id: str
    proposition_id: int
    dependency: str
    category: str
    """What stands before the bracket in the tuple column: "attribute - color"."""


@dataclass(frozen=True)
class PromptQuestions:
    """The questions of one prompt, in the file's order."""

    categories: dict[int, str]
    dependencies: Dependencies


@dataclass(frozen=True)
class DpgScores:
    """All in [0, 100]."""

    score: float
    prompts: dict[str, float]
    broad_categories: dict[str, float]
    detailed_categories: dict[str, float]
    skipped: tuple[str, ...]
    """Prompts that the official mode leaves out because a question depends on the lost row."""


def group_questions(rows: Sequence[Question], mode: Mode = "corrected") -> dict[str, PromptQuestions]:
    """Gather the rows of the question file by prompt."""
    grouped: dict[str, list[Question]] = defaultdict(list)
    for row in rows[1:] if mode == "official" else rows:
        grouped[row.item_id].append(row)
    return {
        item_id: PromptQuestions(
            {row.proposition_id: row.category for row in questions},
            parse_dependencies({row.proposition_id: row.dependency for row in questions}, mode),
        )
        for item_id, questions in grouped.items()
    }


def score_image(answers: Mapping[int, str], questions: PromptQuestions, mode: Mode = "corrected") -> dict[int, float]:
    """Score one image's answers: question id -> 1 if it counts, else 0.

    Raises:
        KeyError: in official mode, a question depends on one that the prompt does not have.
    """
    scores = {question: float(answers[question] == "yes") for question in questions.categories}
    if mode == "official":
        for question, parents in questions.dependencies.items():
            # In place, so that a question further down sees what has become of its parents.
            if any(scores[parent] == 0 for parent in parents):
                scores[question] = 0.0
        return scores
    return {question: float(_holds(question, scores, questions.dependencies, frozenset())) for question in scores}


def score_prompts(
    questions: Mapping[str, PromptQuestions],
    answers: Mapping[str, Sequence[Mapping[int, str]]],
    mode: Mode = "corrected",
) -> DpgScores:
    """Score all prompts.

    Args:
        questions: from `group_questions` in the same mode.
        answers: prompt -> for each of its images, question id -> answer; right is exactly "yes".
    """
    prompt_scores: dict[str, float] = {}
    skipped: list[str] = []
    by_category: dict[str, list[float]] = defaultdict(list)
    for item_id, images in answers.items():
        prompt = questions[item_id]
        try:
            scored = [score_image(image, prompt, mode) for image in images]
        except KeyError:
            if mode != "official":
                raise
            skipped.append(item_id)
            continue
        prompt_scores[item_id] = 100 * fmean(fmean(scores.values()) for scores in scored)
        if mode == "official":
            scored = [{question: float(images[-1][question] == "yes") for question in prompt.categories}]
        for scores in scored:
            for question, score in scores.items():
                by_category[prompt.categories[question]].append(100 * score)
    by_broad: dict[str, list[float]] = defaultdict(list)
    for category, values in by_category.items():
        by_broad[category.split("-")[0].strip()] += values
    return DpgScores(
        score=fmean(prompt_scores.values()),
        prompts=prompt_scores,
        broad_categories={category: fmean(values) for category, values in by_broad.items()},
        detailed_categories={category: fmean(values) for category, values in by_category.items()},
        skipped=tuple(skipped),
    )


def _holds(question: int, scores: Mapping[int, float], dependencies: Dependencies, below: frozenset[int]) -> bool:
    """Whether a question and all its ancestors are answered "yes"; a circle of questions ends where it began."""
    if scores[question] == 0:
        return False
    parents = (parent for parent in dependencies.get(question, ()) if parent not in below)
    return all(_holds(parent, scores, dependencies, below | {question}) for parent in parents)
