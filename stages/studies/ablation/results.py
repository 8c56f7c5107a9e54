"""From the summaries of all runs to means and deviations over the seeds."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from stages.report.tables.scores import Metric, describe
from stages.studies.ablation.settings import Ablation, MetricChoice, Row, Table
from stages.studies.ablation.variants import Variant

RATIO = "_ratio"
"""Ends the names of ratios, before the slash."""

Summary = Mapping[str, Any]
"""An evaluation's summary.json."""


@dataclass(frozen=True)
class Score:
    """A metric of a row: one value per seed, and what is to be said against it."""

    values: Mapping[int, float]
    remark: str = ""

    @property
    def mean(self) -> float:
        return statistics.fmean(self.values.values())

    @property
    def deviation(self) -> float | None:
        """The sample standard deviation over the seeds; None for a single seed, which tells of none."""
        return statistics.stdev(self.values.values()) if len(self.values) > 1 else None


@dataclass(frozen=True)
class RowResult:
    """A row with its scores by metric, and the keys of what they were read from, by seed and node."""

    row: Row
    scores: Mapping[str, Score]
    keys: Mapping[int, Mapping[str, str]]


@dataclass(frozen=True)
class Results:
    """Everything that the tables tell."""

    preset: str
    settings: tuple[str, ...]
    seeds: tuple[int, ...]
    metrics: Mapping[str, Metric]
    base: Mapping[str, float]
    tables: Mapping[str, tuple[Table, tuple[RowResult, ...]]]

    def as_json(self) -> dict[str, Any]:
        """Every number, with names for a program to read."""
        return {
            "preset": self.preset,
            "settings": list(self.settings),
            "seeds": list(self.seeds),
            "metrics": {
                name: {"label": metric.label, "higher_is_better": metric.higher_is_better}
                for name, metric in self.metrics.items()
            },
            "base": dict(self.base),
            "tables": {name: _table_json(table, rows) for name, (table, rows) in self.tables.items()},
        }


def gather(
    ablation: Ablation,
    preset: str,
    settings: Sequence[str],
    variants: Sequence[Variant],
    summaries: Sequence[Mapping[str, Summary]],
) -> Results:
    """Put the numbers of all variants together.

    Args:
        variants: every row with every seed.
        summaries: of each variant, by node.
    """
    measured = [choice for choice in ablation.metrics if _is_measured(choice, summaries[0])]
    found = {(variant.table, variant.row.name, variant.seed): number for number, variant in enumerate(variants)}
    seeds = tuple(dict.fromkeys(variant.seed for variant in variants))

    def result_of(table: str, row: Row) -> RowResult:
        numbers = {seed: found[table, row.name, seed] for seed in seeds}
        scores = {
            choice.metric: Score(
                {seed: _value(choice, summaries[number], "tuned") for seed, number in numbers.items()},
                _remark(choice, summaries[numbers[seeds[0]]]),
            )
            for choice in measured
        }
        return RowResult(row, scores, {seed: variants[number].keys for seed, number in numbers.items()})

    return Results(
        preset=preset,
        settings=tuple(settings),
        seeds=seeds,
        metrics={choice.metric: describe(choice.metric) for choice in measured},
        base={choice.metric: _base_value(choice, summaries) for choice in measured},
        tables={
            name: (table, tuple(result_of(name, row) for row in table.rows)) for name, table in ablation.tables.items()
        },
    )


def _is_measured(choice: MetricChoice, summaries: Mapping[str, Summary]) -> bool:
    if choice.node not in summaries:
        return False
    summary = summaries[choice.node]
    return choice.metric in summary["models"]["base"] or _is_ratio(choice, summary)


def _is_ratio(choice: MetricChoice, summary: Summary) -> bool:
    """Whether the metric is a ratio of the tuned model's value to the base model's: summaries hold those as changes."""
    metric, slash, part = choice.metric.partition("/")
    name = f"{metric.removesuffix(RATIO)}{slash}{part}"
    return metric.endswith(RATIO) and name in summary["models"]["base"] and choice.metric in summary["delta"]


def _value(choice: MetricChoice, summaries: Mapping[str, Summary], model: str) -> float:
    summary = summaries[choice.node]
    if _is_ratio(choice, summary):
        return 1.0 if model == "base" else summary["delta"][choice.metric]["mean"]
    return summary["models"][model][choice.metric]["mean"]


def _remark(choice: MetricChoice, summaries: Mapping[str, Summary]) -> str:
    """What this row's training has done to the measure: one that it looked at is no independent one."""
    facts = summaries[choice.node].get("extractors", {}).get(choice.metric.partition("/")[2], {})
    return "" if facts.get("seen_by") is None else facts["remark"]


def _base_value(choice: MetricChoice, summaries: Sequence[Mapping[str, Summary]]) -> float:
    values = {_value(choice, summary, "base") for summary in summaries}
    assert len(values) == 1, (
        f"variants differ in their training alone, but the base model's {choice.metric} is {values}"
    )
    return values.pop()


def _table_json(table: Table, rows: Sequence[RowResult]) -> dict[str, Any]:
    return {
        "title": table.title,
        "paper": (
            {"measured": table.measured, "higher_is_better": table.higher_is_better, "base": table.base}
            if table.measured
            else None
        ),
        "rows": {
            result.row.name: {
                "label": result.row.label,
                "paper": result.row.paper,
                "scores": {name: _score_json(score) for name, score in result.scores.items()},
                "keys": {str(seed): dict(keys) for seed, keys in result.keys.items()},
            }
            for result in rows
        },
    }


def _score_json(score: Score) -> dict[str, Any]:
    values = {str(seed): value for seed, value in score.values.items()}
    remark = {"remark": score.remark} if score.remark else {}
    return {"mean": score.mean, "deviation": score.deviation, "values": values, **remark}
