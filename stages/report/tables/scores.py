"""Scores as the page tells them: every evaluation's summary in words."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from stages.evaluate.declared.benchmark import Metric
from stages.evaluate.declared.registry import metrics
from stages.evaluate.scoring.images.generated_images import MODELS
from stages.report.pictures.charts import Interval
from stages.store.artifacts import Artifact


@dataclass(frozen=True)
class ScoreRow:
    """One line of the score table."""

    name: str
    metric: Metric
    skill: str | None  # None for the mean over all prompts
    scores: Mapping[str, Interval]  # by model, in the summary's order
    change: Interval | None  # from base to tuned; None where those two were not scored
    ratio: Interval | None  # tuned over base, of distances
    prompts: int
    is_headline: bool = False
    real: Interval | None = None  # of real images held against real ones: the scale
    features: str = ""  # the features that are compared, in words
    independent: bool = True  # the network is neither the judge nor one that training looked at
    remark: str = ""  # why it is not

    @property
    def base(self) -> Interval:
        return self.scores["base"]

    @property
    def tuned(self) -> Interval:
        return self.scores["tuned"]

    @property
    def verdict(self) -> str:
        """ "better" or "worse" when the interval of the change excludes 0, else "unclear"."""
        if self.change is None or self.change.low <= 0 <= self.change.high:
            return "unclear"
        return "better" if (self.change.mean > 0) == self.metric.higher_is_better else "worse"


@dataclass(frozen=True)
class Evaluation:
    """One evaluation's summary."""

    name: str
    protocol: str
    mode: str | None  # "official" or "corrected"; None for protocols that have no faults to mend
    skills: tuple[str, ...] | None  # the skills that it was limited to
    rows: tuple[ScoreRow, ...]

    @property
    def models(self) -> list[str]:
        return list(dict.fromkeys(model for row in self.rows for model in row.scores))


def read_evaluation(artifact: Artifact) -> Evaluation:
    """Read an evaluation's summary."""
    summary = artifact.read_json("summary.json")
    config = artifact.manifest.config
    skills = config.get("skills")
    rows = score_rows(summary)
    return Evaluation(
        summary["benchmark"], summary["protocol"], config.get("mode"), tuple(skills) if skills else None, rows
    )


def score_rows(summary: Mapping[str, Any]) -> tuple[ScoreRow, ...]:
    """One row per metric, in the order of the models that were scored by it."""
    names = dict.fromkeys(name for scores in summary["models"].values() for name in scores)
    return tuple(_score_row(summary, name) for name in names)


def describe(name: str) -> Metric:
    """How a metric is shown, by its name or that of a part: its share of a skill, or by a network's features."""
    metric, _, part = name.partition("/")
    found = metrics().get(metric) or Metric(name=metric, label=metric.replace("_", " "), meaning="")
    return replace(found, label=f"{found.label}, {part.replace('_', ' ')}") if found.of_features and part else found


def headline_rank(name: str) -> int:
    """Where a headline metric stands among the others."""
    place = describe(name).headline
    assert place is not None, f"{name} is no headline"
    return place


def ratio_name(name: str) -> str:
    """What a summary calls the ratio of a distance."""
    metric, slash, part = name.partition("/")
    return f"{metric}_ratio{slash}{part}"


def _score_row(summary: Mapping[str, Any], name: str) -> ScoreRow:
    models, delta, metric = summary["models"], summary["delta"], describe(name)
    part = name.partition("/")[2] or None
    facts = summary.get("extractors", {}).get(part, {}) if metric.of_features else {}
    real, ratio = summary.get("real_to_real", {}), ratio_name(name)
    return ScoreRow(
        name=name,
        metric=metric,
        skill=None if metric.of_features else part,
        scores={model: interval_of(scores[name]) for model, scores in models.items() if name in scores},
        change=interval_of(delta[name]) if name in delta else None,
        ratio=interval_of(delta[ratio]) if ratio in delta else None,
        prompts=next(scores[name]["n"] for scores in models.values() if name in scores),
        is_headline=name == summary.get("headline") or (metric.headline is not None and part is None),
        real=interval_of(real[name]) if name in real else None,
        features=facts.get("features", ""),
        independent=facts.get("independent", True),
        remark=facts.get("remark", ""),
    )


def shown_models(evaluations: Iterable[Evaluation], drawn: Iterable[str] = ()) -> list[str]:
    """Every model that was scored or whose images there are: base and tuned first, others as they come."""
    present = dict.fromkeys((*drawn, *(model for evaluation in evaluations for model in evaluation.models)))
    return [*(model for model in MODELS if model in present), *(model for model in present if model not in MODELS)]


def interval_of(value: Mapping[str, float]) -> Interval:
    return Interval(value["mean"], value["low"], value["high"])
