"""The time line: how the headline scores of a preset went from training to training."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from markupsafe import Markup

from stages.plan.history import Result, history_folder, read_history
from stages.report.pictures.charts import Frame, Interval, Series, grid_lines, series_of, svg
from stages.report.render import render_timeline
from stages.report.tables.scores import ScoreRow, describe, headline_rank, score_rows
from stages.store.store import Store

PAGE = "timeline.html"
APART = 9  # units between the models' points of one training, so that none hides another
LABELS = 6  # dates below a chart, at most
WIDTH, HEIGHT = 560, 250


@dataclass(frozen=True)
class Training:
    """One training, and where it stands on the time axis."""

    lora: str
    trained_at: str
    place: int

    @property
    def date(self) -> str:
        return self.trained_at[:16].replace("T", " ")


@dataclass(frozen=True)
class Point:
    """A score of one training."""

    place: float
    setting: str
    row: ScoreRow


def timeline_page(store: Store, preset: str) -> str:
    """The time line of a preset's trainings, as one self-contained HTML page."""
    return render_timeline(compose_timeline(preset, read_history(store, preset)))


def write_timeline(store: Store, preset: str) -> str:
    """Write the page beside the records that it is drawn from, and return its URL."""
    folder = history_folder(store, preset)
    folder.write(PAGE, timeline_page(store, preset).encode())
    return f"{folder.url}/{PAGE}"


def compose_timeline(preset: str, results: Sequence[Result]) -> dict[str, Any]:
    """The page's content, by the template's names.

    Args:
        results: the earliest training first.
    """
    found = dict.fromkeys((result.lora, result.trained_at) for result in results)
    trainings = [Training(lora, trained_at, place) for place, (lora, trained_at) in enumerate(found)]
    points = _points_by_metric(results, {training.lora: training.place for training in trainings})
    models = list(
        dict.fromkeys(model for of_metric in points.values() for one in of_metric for model in one.row.scores)
    )
    series = series_of(models)
    return {
        "preset": preset,
        "series": series,
        "trainings": trainings,
        "charts": [
            {
                "label": describe(metric).label,
                "meaning": describe(metric).meaning,
                "chart": draw_timeline(describe(metric).label, of_metric, trainings, series),
                "settings": len({point.setting for point in of_metric}),
            }
            for metric, of_metric in points.items()
        ],
        "columns": [describe(metric).label for metric in points],
        "rows": [
            {"training": training, "cells": [_last_at(training.place, of_metric) for of_metric in points.values()]}
            for training in reversed(trainings)
        ],
    }


def draw_timeline(
    label: str, points: Sequence[Point], trainings: Sequence[Training], series: Sequence[Series]
) -> Markup:
    """One metric over the trainings, evenly spaced. Results that were not measured alike are not connected."""
    values = [edge for point in points for one in point.row.scores.values() for edge in (one.low, one.high)]
    low, high = min(values), max(values)
    margin = 0.12 * (high - low) or abs(high) * 0.1 or 0.1
    frame = Frame(52, WIDTH - 20, 14, HEIGHT - 40, -0.5, len(trainings) - 0.5, low - margin, high + margin)
    parts = [_axes(frame, trainings)]
    for number, one in enumerate(series):
        shift = (number - (len(series) - 1) / 2) * APART / (frame.x(1) - frame.x(0))
        own = [replace(point, place=point.place + shift) for point in points if one.name in point.row.scores]
        parts += _lines(frame, own, one)
        parts += [_mark(frame, point.place, point.row.scores[one.name], one) for point in own]
    last = points[-1].row
    return svg(
        WIDTH,
        HEIGHT,
        f"{label}: base {last.base.mean:.3f}, tuned {last.tuned.mean:.3f} at last",
        Markup("").join(parts),
    )


def _points_by_metric(results: Sequence[Result], places: dict[str, int]) -> dict[str, list[Point]]:
    found: dict[str, list[Point]] = {}
    for result in results:
        for row in score_rows(result.summary):
            if row.is_headline and row.change:
                found.setdefault(row.name, []).append(Point(places[result.lora], result.setting, row))
    return {metric: found[metric] for metric in sorted(found, key=lambda metric: (headline_rank(metric), metric))}


def _last_at(place: int, points: Sequence[Point]) -> ScoreRow | None:
    """A training's score; the one with the latest settings where it was measured more than once."""
    return next((point.row for point in reversed(points) if point.place == place), None)


def _lines(frame: Frame, points: Sequence[Point], series: Series) -> list[Markup]:
    """Connect what was measured alike."""
    lines = []
    for setting in dict.fromkeys(point.setting for point in points):
        own = [point for point in points if point.setting == setting]
        steps = " ".join(
            f"{'M' if index == 0 else 'L'}{frame.x(point.place):.1f} {frame.y(point.row.scores[series.name].mean):.1f}"
            for index, point in enumerate(own)
        )
        if len(own) > 1:
            lines.append(Markup('<path class="trend {}" d="{}"/>').format(series.mark, steps))
    return lines


def _mark(frame: Frame, place: float, score: Interval, series: Series) -> Markup:
    x, y = frame.x(place), frame.y(score.mean)
    return Markup(
        '<line class="range {mark}" x1="{x:.1f}" x2="{x:.1f}" y1="{low:.1f}" y2="{high:.1f}"/>'
        '<circle class="dot {mark}" cx="{x:.1f}" cy="{y:.1f}" r="4.5"><title>{name} {mean:.3f}</title></circle>'
    ).format(
        mark=series.mark, x=x, y=y, low=frame.y(score.low), high=frame.y(score.high), name=series.name, mean=score.mean
    )


def _axes(frame: Frame, trainings: Sequence[Training]) -> Markup:
    parts = grid_lines(frame, 5, gap=8)
    step = -(-len(trainings) // LABELS)
    for training in trainings[::-1][::step]:  # the latest always has its date
        date, time = training.date.split(" ")
        parts.append(
            Markup(
                '<text class="tick" x="{x:.1f}" y="{y}" text-anchor="middle">{date}</text>'
                '<text class="tick" x="{x:.1f}" y="{below}" text-anchor="middle">{time}</text>'
            ).format(x=frame.x(training.place), y=frame.bottom + 16, below=frame.bottom + 29, date=date, time=time)
        )
    return Markup("").join(parts)
