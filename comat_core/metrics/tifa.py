"""TIFA: multiple-choice questions about an image, answered by a model that answers freely."""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

Similarities = Callable[[str, Sequence[str]], Sequence[float]]
"""(answer, choices) -> how near each choice is to the answer; the official one is SBERT's (all-mpnet-base-v2)."""


@dataclass(frozen=True)
class Question:
    """One question of the official file."""

    caption_id: str
    text: str
    choices: tuple[str, ...]
    answer: str
    element_type: str


@dataclass(frozen=True)
class TifaScores:
    """All in [0, 1]."""

    score: float
    """Mean over captions of the mean over their questions: captions with many questions weigh no more than others."""
    captions: dict[str, float]
    accuracy_by_type: dict[str, float]
    """Pooled over all questions of a type."""


def choose(answer: str, choices: Sequence[str], similarities: Similarities) -> str:
    """Turn a free answer into one of the choices: itself if it is one, else the nearest."""
    if answer in choices:
        return answer
    nearness = similarities(answer, choices)
    assert len(nearness) == len(choices), "one similarity per choice"
    return choices[max(range(len(choices)), key=nearness.__getitem__)]


def score_captions(
    questions: Sequence[Question], answers: Mapping[tuple[str, str], str], similarities: Similarities
) -> TifaScores:
    """Score the answers about one image per caption.

    Args:
        answers: (caption id, question) -> the model's free answer. Every question needs one.
        similarities: asked only about answers that are no choice.
    """
    by_caption: dict[str, list[float]] = defaultdict(list)
    by_type: dict[str, list[float]] = defaultdict(list)
    for question in questions:
        chosen = choose(answers[question.caption_id, question.text], question.choices, similarities)
        right = float(chosen == question.answer)
        by_caption[question.caption_id].append(right)
        by_type[question.element_type].append(right)
    captions = {caption: fmean(scores) for caption, scores in by_caption.items()}
    return TifaScores(fmean(captions.values()), captions, {kind: fmean(scores) for kind, scores in by_type.items()})
