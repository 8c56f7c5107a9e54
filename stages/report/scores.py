"""Scores as the page tells them: summaries in words, and per-prompt means."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from stages.artifacts import Artifact
from stages.report.charts import Interval


@dataclass(frozen=True)
class Metric:
    """How a metric is shown."""

    label: str
    meaning: str
    higher_is_better: bool = True


METRICS = {
    "attribute_binding": Metric(
        "Attribute binding", "BLIP finds every noun phrase of the prompt (product of its answers)"
    ),
    "spatial": Metric("Spatial relations", "both objects are there and placed as the prompt says"),
    "complex": Metric("Complex (3-in-1)", "mean of attribute binding, spatial relations and CLIPScore, as prompts ask"),
    "clip_score": Metric("CLIPScore", "cosine of image and prompt as CLIP sees them"),
    "tifa": Metric("TIFA", "share of an image's multiple-choice questions that are answered right"),
    "dpg": Metric("DPG-Bench", "share of a dense prompt's questions answered yes, and so their ancestors"),
    "dsg": Metric("DSG", "share of a prompt's questions answered yes, and so their parents"),
    "object_accuracy": Metric("Objects", "share of the prompt's shapes that the judge sees, in any colour"),
    "attribute_accuracy": Metric(
        "Objects as described", "share of the prompt's objects that the judge sees as described"
    ),
    "all_right": Metric("All objects right", "share of images in which the judge sees every object as described"),
    "exact": Metric("Right, nothing else", "share of images with all objects right and no further pair"),
    "frechet_distance": Metric("Fréchet distance", "of generated to real images; lower is better", False),
}

HEADLINES = ("attribute_binding", "frechet_distance", "all_right", "spatial", "complex")
RANKING = ("attribute_binding", "all_right", "attribute_accuracy")
"""Metrics by which examples are ranked; the first that was measured is used."""


@dataclass(frozen=True)
class ScoreRow:
    """One line of the score table."""

    name: str
    metric: Metric
    skill: str | None  # None for the mean over all prompts
    base: Interval
    tuned: Interval
    change: Interval
    ratio: Interval | None
    prompts: int

    @property
    def verdict(self) -> str:
        """ "better" or "worse" when the interval of the change excludes 0, else "unclear"."""
        if self.change.low <= 0 <= self.change.high:
            return "unclear"
        return "better" if (self.change.mean > 0) == self.metric.higher_is_better else "worse"


@dataclass(frozen=True)
class Benchmark:
    """One evaluation's summary."""

    name: str
    protocol: str
    rows: tuple[ScoreRow, ...]


def read_benchmark(artifact: Artifact) -> Benchmark:
    """Read an evaluation's summary."""
    summary = artifact.read_json("summary.json")
    base, tuned, delta = summary["models"]["base"], summary["models"]["tuned"], summary["delta"]
    rows = tuple(
        ScoreRow(
            name=name,
            metric=METRICS.get(name.split("/")[0], Metric(name.split("/")[0].replace("_", " "), "")),
            skill=name.partition("/")[2] or None,
            base=_interval(base[name]),
            tuned=_interval(tuned[name]),
            change=_interval(delta[name]),
            ratio=_interval(delta[f"{name}_ratio"]) if f"{name}_ratio" in delta else None,
            prompts=base[name]["n"],
        )
        for name in base
    )
    return Benchmark(summary["benchmark"], summary["protocol"], rows)


@dataclass(frozen=True)
class PromptScores:
    """Scores of one prompt's images: metric -> model -> one score per sample, and what the items say beside them."""

    samples: dict[str, dict[str, dict[int, float]]]
    seen: dict[tuple[str, int], list[str]]
    answers: dict[tuple[str, int], list[tuple[str, float]]]

    def mean(self, metric: str, model: str) -> float | None:
        """Mean over the samples, or None where the prompt was not scored."""
        scores = self.samples.get(metric, {}).get(model)
        return sum(scores.values()) / len(scores) if scores else None

    def change(self, metric: str) -> float | None:
        """Mean of tuned minus mean of base."""
        base, tuned = self.mean(metric, "base"), self.mean(metric, "tuned")
        return None if base is None or tuned is None else tuned - base


def read_prompt_scores(artifacts: Mapping[str, Artifact]) -> dict[str, PromptScores]:
    """Read the items of the evaluations that score single images: prompt id -> its scores."""
    found: dict[str, PromptScores] = defaultdict(lambda: PromptScores({}, {}, {}))
    for role in ("attributes", "spatial", "judge"):
        if role not in artifacts:
            continue
        for row in artifacts[role].read_table("items").to_pylist():
            _add_item(found[row["prompt_id"]], row)
    return dict(found)


def ranking_metric(scores: Mapping[str, PromptScores]) -> str | None:
    """The metric that ranks examples, or None when no single image was scored."""
    measured = {metric for prompt in scores.values() for metric in prompt.samples}
    return next((metric for metric in RANKING if metric in measured), None)


def _add_item(scores: PromptScores, row: Mapping[str, Any]) -> None:
    model, sample = row["model"], row["sample"]
    for metric in METRICS.keys() & row.keys():
        if row[metric] is None:
            continue
        scores.samples.setdefault(metric, {}).setdefault(model, {})[sample] = row[metric]
    if "seen" in row:
        scores.seen[model, sample] = row["seen"]
    if "questions" in row:
        scores.answers[model, sample] = list(zip(row["questions"], row["answers"], strict=True))


def _interval(value: Mapping[str, float]) -> Interval:
    return Interval(value["mean"], value["low"], value["high"])
