"""Scores as the page tells them: every evaluation's summary in words."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from stages.evaluate.images.generated_images import MODELS
from stages.report.pictures.charts import Interval
from stages.store.artifacts import Artifact


@dataclass(frozen=True)
class Metric:
    """How a metric is shown."""

    label: str
    meaning: str
    higher_is_better: bool = True
    of_features: bool = False
    """What follows the slash in its names is the network whose features are compared, not a skill."""

    @property
    def in_sentence(self) -> str:
        """The label amid a sentence: names keep their capitals."""
        return self.label.lower() if self.label[1:] == self.label[1:].lower() else self.label


METRICS = {
    "attribute_binding": Metric(
        "Attribute binding", "BLIP finds every noun phrase of the prompt (product of its answers)"
    ),
    "spatial": Metric("Spatial relations", "both objects are there and placed as the prompt says"),
    "numeracy": Metric("Numeracy", "share of the prompt's kinds of objects that a detector finds in the right number"),
    "spatial_3d": Metric("3D relations", "both objects are there, and before or behind each other as the prompt says"),
    "complex": Metric("Complex (3-in-1)", "mean of attribute binding, spatial relations and CLIPScore, as prompts ask"),
    "clip_score": Metric("CLIPScore", "cosine of image and prompt as CLIP sees them"),
    "tifa": Metric("TIFA", "share of an image's multiple-choice questions that are answered right"),
    "dpg": Metric("DPG-Bench", "share of a dense prompt's questions answered yes, and so their ancestors"),
    "dsg": Metric("DSG", "share of a prompt's questions answered yes, and so their parents"),
    "geneval": Metric("GenEval", "share of images whose objects a detector finds as the prompt says"),
    "object_accuracy": Metric("Objects", "share of the prompt's shapes that the judge sees, in any colour"),
    "attribute_accuracy": Metric(
        "Objects as described", "share of the prompt's objects that the judge sees as described"
    ),
    "all_right": Metric("All objects right", "share of images in which the judge sees every object as described"),
    "exact": Metric("Right, nothing else", "share of images with all objects right and no further pair"),
    "sensitivity": Metric(
        "Sensitivity", "how much less likely the captioner finds a corrupted text of the same image (equation 7)"
    ),
    "frechet_distance": Metric("Fréchet distance", "of generated to real images; lower is better", False, True),
    "frechet_distance_ratio": Metric(
        "Fréchet ratio to base", "the tuned model's distance to real images over the base model's", False, True
    ),
    "density": Metric("Density", "how many real images' neighbourhoods a generated image lies in, over k", True, True),
    "coverage": Metric("Coverage", "share of real images with a generated one in their neighbourhood", True, True),
    "fid": Metric("FID", "Fréchet distance to real images on Inception's features; lower is better", False),
}

HEADLINES = (
    *("all_right", "attribute_binding", "frechet_distance", "fid", "spatial", "complex"),
    *("numeracy", "spatial_3d", "tifa", "dpg", "dsg", "geneval"),
)
"""Metrics at the top of the page, and on the time line; of those by several networks the one that its summary names."""
RANKING = ("attribute_binding", "all_right", "attribute_accuracy", "tifa", "dpg", "dsg", "geneval", "clip_score")
"""Metrics by which examples are ranked; the first that was measured is used."""


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
class Benchmark:
    """One evaluation's summary."""

    name: str
    protocol: str
    mode: str | None  # "official" or "corrected"; None for protocols that have no faults to mend
    skills: tuple[str, ...] | None  # the skills that it was limited to
    rows: tuple[ScoreRow, ...]

    @property
    def models(self) -> list[str]:
        return list(dict.fromkeys(model for row in self.rows for model in row.scores))


def read_benchmark(artifact: Artifact) -> Benchmark:
    """Read an evaluation's summary."""
    summary = artifact.read_json("summary.json")
    config = artifact.manifest.config
    skills = config.get("skills")
    rows = score_rows(summary)
    return Benchmark(
        summary["benchmark"], summary["protocol"], config.get("mode"), tuple(skills) if skills else None, rows
    )


def score_rows(summary: Mapping[str, Any]) -> tuple[ScoreRow, ...]:
    """One row per metric, in the order of the models that were scored by it."""
    names = dict.fromkeys(name for scores in summary["models"].values() for name in scores)
    return tuple(_score_row(summary, name) for name in names)


def describe(name: str) -> Metric:
    """How a metric is shown, by its name or that of a part: its share of a skill, or by a network's features."""
    metric, _, part = name.partition("/")
    found = METRICS.get(metric) or Metric(metric.replace("_", " "), "")
    return replace(found, label=f"{found.label}, {part.replace('_', ' ')}") if found.of_features and part else found


def headline_rank(name: str) -> int:
    """Where a headline metric stands among the others."""
    return HEADLINES.index(name.partition("/")[0])


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
        is_headline=name in HEADLINES or name == summary.get("headline"),
        real=interval_of(real[name]) if name in real else None,
        features=facts.get("features", ""),
        independent=facts.get("independent", True),
        remark=facts.get("remark", ""),
    )


def shown_models(benchmarks: Iterable[Benchmark], drawn: Iterable[str] = ()) -> list[str]:
    """Every model that was scored or whose images there are: base and tuned first, others as they come."""
    present = dict.fromkeys((*MODELS, *drawn, *(model for benchmark in benchmarks for model in benchmark.models)))
    return list(present)


def interval_of(value: Mapping[str, float]) -> Interval:
    return Interval(value["mean"], value["low"], value["high"])
