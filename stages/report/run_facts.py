"""Where the numbers come from: times, settings, versions and keys of every stage, and the training curves."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import yaml
from markupsafe import Markup

from stages.evaluate.declared.benchmark import Benchmark
from stages.evaluate.declared.registry import benchmarks, drawn_images, in_official_mode
from stages.evaluate.scoring.images.generated_images import MODELS, OTHER, REAL
from stages.report.pictures.charts import line_chart
from stages.store.artifacts import Artifact
from stages.train.metrics import read_metrics

BEFORE_IMAGES = ("prompts", "pairs", "entities", "adapt", "latents")
FIRST_CURVES = ("total", "concept_activation", "fidelity", "concentration_positive", "concentration_negative")


@dataclass(frozen=True)
class StageFacts:
    """One stage's manifest in short."""

    name: str
    key: str
    seconds: float
    share: float  # of the longest stage's time, in [0, 1]
    settings: str  # YAML

    @property
    def duration(self) -> str:
        """The time in words."""
        minutes, seconds = divmod(round(self.seconds), 60)
        hours, minutes = divmod(minutes, 60)
        if hours:
            return f"{hours} h {minutes} min"
        return f"{minutes} min {seconds} s" if minutes else f"{self.seconds:.1f} s"


@dataclass(frozen=True)
class Curve:
    """A value that training logged, with its chart."""

    name: str
    chart: Markup


def read_stages(inputs: Mapping[str, Artifact]) -> list[StageFacts]:
    """Read every input's manifest, in the order of the pipeline."""
    base, tuned = (drawn_images(model) for model in MODELS)
    others = sorted(role for role in inputs if role.startswith(f"{OTHER}."))
    measured = (*benchmarks(), *in_official_mode())
    evaluations = [role for one in measured for role in (*_scores_of(one, inputs), one.node)]
    maps = {model: f"attention.{model}" for model in MODELS}
    drawn = (*base, maps["base"], "train", *tuned, maps["tuned"])
    order = (*BEFORE_IMAGES, *drawn, *others, *evaluations)
    names = base | tuned
    manifests = {role: inputs[role].manifest for role in order if role in inputs}
    longest = max((manifest.seconds for manifest in manifests.values()), default=0.0) or 1.0
    return [
        StageFacts(
            name=names.get(role, role.replace(f"{OTHER}.", "images.")),
            key=manifest.key,
            seconds=manifest.seconds,
            share=manifest.seconds / longest,
            settings=yaml.safe_dump(manifest.config, sort_keys=False, allow_unicode=True),
        )
        for role, manifest in manifests.items()
    ]


def _scores_of(benchmark: Benchmark, inputs: Mapping[str, Artifact]) -> list[str]:
    """The roles of the scores and distances that a benchmark compares: of real images, base, tuned, then the others."""
    found: list[str] = []
    for node_of in (benchmark.scores_node, benchmark.distances_node):
        first = [node_of(model) for model in (REAL, *MODELS)]
        others = sorted(role for role in inputs if role.startswith(node_of("")) and role not in first)
        found += [*(role for role in first if role in inputs), *others]
    return found


def read_versions(inputs: Mapping[str, Artifact]) -> dict[str, str]:
    """Library -> version; where stages ran with different ones, all of them."""
    found: dict[str, set[str]] = {}
    for artifact in inputs.values():
        for name, version in artifact.manifest.libraries.items():
            found.setdefault(name, set()).add(version)
    return {name: ", ".join(sorted(versions)) for name, versions in found.items()}


def read_curves(train: Artifact) -> list[Curve]:
    """Draw every column of the training's metrics table over its steps. Values that are not finite are left out."""
    steps, values = read_metrics(train)
    rank = {name: index for index, name in enumerate(FIRST_CURVES)}
    curves = []
    for name in sorted(values, key=lambda name: (rank.get(name, len(rank)), name)):
        points = [
            (step, value)
            for step, value in zip(steps, values[name], strict=True)
            if value is not None and math.isfinite(value)
        ]
        if points:
            xs, ys = zip(*points, strict=True)
            label = name.replace("_", " ")
            curves.append(Curve(label, line_chart(label, xs, ys)))
    return curves
