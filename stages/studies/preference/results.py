"""What a study found: how often each model was preferred, with intervals, and how far the raters agree."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

from comat_core.metrics.agreement import nominal_alpha
from comat_core.metrics.bootstrap import Estimate, make_numpy_generator
from comat_core.metrics.crossed_bootstrap import crossed_bootstrap_mean
from comat_core.support.errors import UserError
from stages.studies.preference.answers import read_answers
from stages.studies.preference.folder import QUESTIONS, Question, StudyKey, read_key, read_study
from stages.studies.preference.raters import read_raters

Preference = Literal["tuned", "tie", "base"]
PREFERENCES: Final[tuple[Preference, ...]] = ("tuned", "tie", "base")


@dataclass(frozen=True)
class Vote:
    """One rater's answer to one question, with the sides replaced by the models."""

    rater: int
    pair: str
    preference: Preference


@dataclass(frozen=True)
class QuestionResult:
    """What the raters said to one question."""

    question: Question
    text: str
    counts: dict[Preference, int]
    shares: dict[Preference, Estimate]
    """Of all answers; the intervals are over raters and prompts."""
    lead: Estimate
    """Share of the tuned model minus that of the base model."""
    alpha: float | None
    """Krippendorff's, of tuned, tie and base; None where nothing could disagree."""

    def of_model(self, model: Literal["tuned", "base"]) -> dict[str, Estimate]:
        """A model's wins, ties and losses."""
        other: Preference = "base" if model == "tuned" else "tuned"
        return {"win": self.shares[model], "tie": self.shares["tie"], "loss": self.shares[other]}


@dataclass(frozen=True)
class StudyResults:
    """A study's results."""

    preset: str
    split: str
    pairs: int
    raters: int
    """Who gave an answer."""
    answers: int
    questions: list[QuestionResult]

    def as_json(self) -> dict[str, Any]:
        return {
            "preset": self.preset,
            "split": self.split,
            "pairs": self.pairs,
            "raters": self.raters,
            "answers": self.answers,
            "questions": {
                one.question: {
                    "text": one.text,
                    "counts": one.counts,
                    "models": {model: _as_json(one.of_model(model)) for model in ("tuned", "base")},
                    "lead": one.lead.as_dict(),
                    "alpha": one.alpha,
                }
                for one in self.questions
            },
        }


def gather(folder: Path) -> StudyResults:
    """Read a study's answers and work its results out.

    Raises:
        UserError: the folder is no study's, a file of it is damaged, or nobody has answered yet.
    """
    study = read_study(folder)
    key = read_key(folder, study)
    names = {pair.pair for pair in study.pairs}
    votes: dict[Question, list[Vote]] = {question: [] for question in QUESTIONS}
    for rater in sorted(read_raters(folder).values()):
        for (pair, question), choice in read_answers(folder, rater, names).items():
            votes[question].append(Vote(rater, pair, _preference(key, pair, choice)))
    every = [vote for of_question in votes.values() for vote in of_question]
    if not every:
        raise UserError("there are no answers yet", str(folder), "serve the study with `comat study serve` first")
    return StudyResults(
        preset=key.preset,
        split=key.split,
        pairs=len(study.pairs),
        raters=len({vote.rater for vote in every}),
        answers=len(every),
        questions=[summarise(question, given) for question, given in votes.items() if given],
    )


def summarise(question: Question, votes: Sequence[Vote]) -> QuestionResult:
    """Shares, lead and agreement of the answers to one question."""
    counts = Counter(vote.preference for vote in votes)
    by_pair: dict[str, list[Preference]] = {}
    for vote in votes:
        by_pair.setdefault(vote.pair, []).append(vote.preference)
    return QuestionResult(
        question=question,
        text=QUESTIONS[question],
        counts={preference: counts[preference] for preference in PREFERENCES},
        shares={one: _mean(votes, {one: 1.0}, f"{question}, {one}") for one in PREFERENCES},
        lead=_mean(votes, {"tuned": 1.0, "base": -1.0}, f"{question}, lead"),
        alpha=nominal_alpha(by_pair.values()),
    )


def _preference(key: StudyKey, pair: str, choice: str) -> Preference:
    if choice == "tie":
        return "tie"
    return "tuned" if choice == key.pairs[pair].tuned else "base"


def _mean(votes: Sequence[Vote], worth: dict[Preference, float], purpose: str) -> Estimate:
    """Mean worth of the answers; a preference that is not named is worth nothing."""
    values = [worth.get(vote.preference, 0.0) for vote in votes]
    raters, pairs = [vote.rater for vote in votes], [vote.pair for vote in votes]
    return crossed_bootstrap_mean(values, raters, pairs, make_numpy_generator(0, f"study: {purpose}"))


def _as_json(shares: dict[str, Estimate]) -> dict[str, dict[str, float | int]]:
    return {name: estimate.as_dict() for name, estimate in shares.items()}
