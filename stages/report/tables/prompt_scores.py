"""Scores of single prompts, from the items of every evaluation that scores images one by one."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from statistics import fmean
from typing import Any

from stages.evaluate.scoring.comparisons import JOINED
from stages.report.evaluations import EVALUATIONS
from stages.report.tables.scores import METRICS, RANKING
from stages.store.artifacts import Artifact

WHOLE_SETS = ("fidelity", "fid", "sensitivity")
"""Evaluations that give a set of images one value."""
OWN_METRICS = {
    "spatial": "spatial",
    "3d_spatial": "spatial_3d",
    "numeracy": "numeracy",
    "non_spatial": "clip_score",
    "complex": "complex",
}
"""What a skill begins with -> the metric made for it."""
SHOWN_DIGITS = 2

ImageId = tuple[str, int]
"""(model, sample)"""


@dataclass(frozen=True)
class PromptScores:
    """Scores of one prompt's images: metric -> model -> one score per sample, and what the items say beside them."""

    samples: dict[str, dict[str, dict[int, float]]] = field(default_factory=dict)
    seen: dict[ImageId, list[str]] = field(default_factory=dict)
    answers: dict[ImageId, list[str]] = field(default_factory=lambda: defaultdict(list))

    def mean(self, metric: str, model: str) -> float | None:
        """Mean over the samples, or None where the prompt was not scored."""
        scores = self.samples.get(metric, {}).get(model)
        return fmean(scores.values()) if scores else None

    def change(self, metric: str) -> float | None:
        """Mean of tuned minus mean of base."""
        base, tuned = self.mean(metric, "base"), self.mean(metric, "tuned")
        return None if base is None or tuned is None else tuned - base

    def told(self, model: str, sample: int) -> str:
        """What the scoring models said of an image."""
        seen = self.seen.get((model, sample))
        judged = [] if seen is None else [f"the judge sees: {', '.join(seen) or 'nothing'}"]
        answers = self.answers.get((model, sample))
        return ". ".join([*(["; ".join(answers)] if answers else []), *judged])


def read_prompt_scores(artifacts: Mapping[str, Artifact]) -> dict[str, PromptScores]:
    """Prompt id -> its scores."""
    found: dict[str, PromptScores] = defaultdict(PromptScores)
    for role in EVALUATIONS:
        name = role.removeprefix("evaluate.")
        if role not in artifacts or name in WHOLE_SETS:
            continue
        questions: dict[tuple[str, str, int], list[float]] = defaultdict(list)
        for row in _items(artifacts[role]):
            _add_item(found[row["prompt_id"]], row)
            if "correct" in row:
                _add_score(found[row["prompt_id"]], name, row["model"], row["sample"], float(row["correct"]))
            if "question" in row:
                questions[row["prompt_id"], row["model"], row["sample"]].append(row["score"])
        for (prompt_id, model, sample), scores in questions.items():
            _add_score(found[prompt_id], name, model, sample, fmean(scores))
    return dict(found)


def measured_metrics(scores: Iterable[PromptScores]) -> set[str]:
    """Every metric that some image of some prompt was scored by."""
    return {metric for prompt in scores for metric in prompt.samples}


def ranking_metric(scores: Iterable[PromptScores], skill: str = "") -> str | None:
    """The metric that ranks prompts, or None when no single image was scored.

    Args:
        skill: what the prompts test; a metric made for that skill comes first.
    """
    own = [metric for beginning, metric in OWN_METRICS.items() if skill.startswith(beginning)]
    measured = measured_metrics(scores)
    return next((metric for metric in (*own, *RANKING) if metric in measured), None)


def verdict_of(change: float | None) -> str:
    """Of one prompt: a change too small to be shown is neither better nor worse."""
    shown = round(change or 0.0, SHOWN_DIGITS)
    return "better" if shown > 0 else "worse" if shown < 0 else "unclear"


def _items(artifact: Artifact) -> list[dict[str, Any]]:
    return artifact.read_table(JOINED).to_pylist()


def _add_item(scores: PromptScores, row: Mapping[str, Any]) -> None:
    model, sample = row["model"], row["sample"]
    for metric in METRICS.keys() & row.keys():
        if row[metric] is not None:
            _add_score(scores, metric, model, sample, row[metric])
    if "reasons" in row:
        scores.answers[model, sample] += row["reasons"]
    if "seen" in row:
        scores.seen[model, sample] = row["seen"]
    if "questions" in row:
        told = [f"{question} {answer:.2f}" for question, answer in zip(row["questions"], row["answers"], strict=True)]
        scores.answers[model, sample] += told
    if "question" in row:
        scores.answers[model, sample].append(f"{row['question']} {row['answer']}")


def _add_score(scores: PromptScores, metric: str, model: str, sample: int, score: float) -> None:
    scores.samples.setdefault(metric, {}).setdefault(model, {})[sample] = score
