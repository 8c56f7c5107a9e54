"""Scores of single prompts, from the items of every evaluation that scores images one by one."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from statistics import fmean

from stages.evaluate.declared.benchmark import Benchmark, ScoredItem
from stages.evaluate.declared.registry import benchmarks, metrics
from stages.evaluate.scoring.comparisons import JOINED
from stages.store.artifacts import Artifact

SHOWN_DIGITS = 2

ImageId = tuple[str, int]
"""(model, sample)"""


@dataclass(frozen=True)
class PromptScores:
    """Scores of one prompt's images.

    Attributes:
        samples: metric -> model -> one score per sample.
        explanations: image -> benchmark -> what its models said of the image.
    """

    samples: dict[str, dict[str, dict[int, float]]] = field(default_factory=dict)
    explanations: dict[ImageId, dict[str, list[str]]] = field(default_factory=lambda: defaultdict(dict))

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
        return ". ".join("; ".join(lines) for lines in self.explanations.get((model, sample), {}).values())


def read_prompt_scores(artifacts: Mapping[str, Artifact]) -> dict[str, PromptScores]:
    """Prompt id -> its scores."""
    found: dict[str, PromptScores] = defaultdict(PromptScores)
    for benchmark in benchmarks():
        if benchmark.node in artifacts and benchmark.of_single_images:
            _add_items(found, benchmark, artifacts[benchmark.node].read_table(JOINED).to_pylist())
    return dict(found)


def measured_metrics(scores: Iterable[PromptScores]) -> set[str]:
    """Every metric that some image of some prompt was scored by."""
    return {metric for prompt in scores for metric in prompt.samples}


def ranking_metric(scores: Iterable[PromptScores], skill: str = "") -> str | None:
    """The metric that ranks prompts, or None when no single image was scored.

    Args:
        skill: what the prompts test; a metric made for that skill comes first.
    """
    known, measured = metrics().values(), measured_metrics(scores)
    own = [metric.name for metric in known if skill.startswith(metric.skills)]
    ranked = sorted((metric.ranking, metric.name) for metric in known if metric.ranking is not None)
    return next((name for name in (*own, *(name for _, name in ranked)) if name in measured), None)


def verdict_of(change: float | None) -> str:
    """Of one prompt: a change too small to be shown is neither better nor worse."""
    shown = round(change or 0.0, SHOWN_DIGITS)
    return "better" if shown > 0 else "worse" if shown < 0 else "unclear"


def _add_items(found: dict[str, PromptScores], benchmark: Benchmark, items: Iterable[ScoredItem]) -> None:
    """Add a benchmark's items; an image's score is the mean over its items."""
    values: dict[tuple[str, str, str, int], list[float]] = defaultdict(list)
    for item in items:
        prompt_id, model, sample = item["prompt_id"], item["model"], item["sample"]
        for metric, score in benchmark.scores_in(item).items():
            if score is not None:
                values[prompt_id, metric, model, sample].append(score)
        lines = benchmark.explain_item(item)
        if lines:
            found[prompt_id].explanations[model, sample].setdefault(benchmark.name, []).extend(lines)
    for (prompt_id, metric, model, sample), of_image in values.items():
        found[prompt_id].samples.setdefault(metric, {}).setdefault(model, {})[sample] = fmean(of_image)
