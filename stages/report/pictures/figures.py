"""The two pictures of all scores: bars with their intervals, and a radar with one axis per score."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from stages.evaluate.declared.registry import measures_sets, metrics
from stages.evaluate.scoring.summaries import NOT_IN_TRAINING
from stages.report.pictures.charts import Interval, Series, svg, ticks_between
from stages.report.tables.scores import Evaluation, ScoreRow

FEWEST_AXES = 3  # a radar of two axes is a line
SCALE_ENDS = (0.25, 0.5, 0.75, 1.0)


@dataclass(frozen=True)
class Axis:
    """One score of every model."""

    metric: str
    skill: str | None
    scores: Sequence[tuple[Series, Interval]]

    @property
    def label(self) -> str:
        return f"{self.metric}, {self.skill}" if self.skill else self.metric

    @property
    def end(self) -> float:
        """Where the axis ends: the first quarter of 1 that no mean exceeds."""
        top = max(interval.mean for _, interval in self.scores)
        return next((end for end in SCALE_ENDS if top <= end), top)


def choose_axes(evaluations: Sequence[Evaluation], series: Sequence[Series]) -> list[Axis]:
    """The scores to draw, in the benchmarks' order."""
    order = list(metrics())
    rows = sorted(_shown_rows(evaluations), key=lambda row: order.index(row.metric.name))
    return [
        Axis(
            row.metric.label,
            row.skill.replace("_", " ") if row.skill else None,
            [(one, row.scores[one.name]) for one in series if one.name in row.scores],
        )
        for row in rows
    ]


def _shown_rows(evaluations: Sequence[Evaluation]) -> Iterator[ScoreRow]:
    for evaluation in evaluations:
        if measures_sets(evaluation.name):  # CLIPScore stands beside FID too
            continue
        rows = [row for row in evaluation.rows if not (row.skill or "").endswith(NOT_IN_TRAINING)]
        with_skills = {row.metric.name for row in rows if row.skill}
        for row in rows:
            is_divided = row.metric.is_divided and row.metric.name in with_skills
            if row.metric.is_drawn and bool(row.skill) == is_divided:
                yield row


def bar_chart(axes: Sequence[Axis]) -> Markup:
    """A group of horizontal bars per score, each with its interval, on one scale from 0 to 1."""
    width, left, right, thickness, gap, top = 620, 200, 570, 11, 16, 8
    bottom = top + sum(len(axis.scores) * thickness + gap for axis in axes)

    def x(value: float) -> float:
        return left + value * (right - left)

    parts = [
        Markup(
            '<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="{top}" y2="{bottom}"/>'
            '<text class="tick" x="{x:.1f}" y="{text}" text-anchor="middle">{value:g}</text>'
        ).format(x=x(value), top=top, bottom=bottom, text=bottom + 15, value=value)
        for value in ticks_between(0.0, 1.0, 5)
    ]
    y = top + gap / 2
    for axis in axes:
        height = len(axis.scores) * thickness
        parts.append(_label(axis, left - 12, y + height / 2))
        for series, interval in axis.scores:
            parts.append(_bar(series.mark, x(0), x(interval.mean), y, thickness, x(interval.low), x(interval.high)))
            parts.append(
                Markup('<text class="value" x="{:.1f}" y="{:.1f}">{:.3f}</text>').format(
                    x(max(interval.high, interval.mean)) + 6, y + thickness / 2 + 3.5, interval.mean
                )
            )
            y += thickness
        y += gap
    return svg(width, round(bottom + 22), _told(axes), Markup("").join(parts))


def _bar(mark: str, start: float, end: float, y: float, thickness: float, low: float, high: float) -> Markup:
    middle = y + thickness / 2
    return Markup(
        '<rect class="bar {mark}" x="{start:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}" rx="2"/>'
        '<line class="whisker" x1="{low:.1f}" x2="{high:.1f}" y1="{middle:.1f}" y2="{middle:.1f}"/>'
    ).format(
        mark=mark,
        start=start,
        y=y + 1,
        width=max(end - start, 0.5),
        height=thickness - 2,
        low=low,
        high=high,
        middle=middle,
    )


def _label(axis: Axis, x: float, y: float) -> Markup:
    """The score's name at the left of its bars, the skill below it."""
    if axis.skill is None:
        return Markup('<text class="label" x="{}" y="{:.1f}" text-anchor="end">{}</text>').format(x, y + 4, axis.metric)
    return Markup(
        '<text class="label" x="{0}" y="{1:.1f}" text-anchor="end">{2}</text>'
        '<text class="tick" x="{0}" y="{3:.1f}" text-anchor="end">{4}</text>'
    ).format(x, y - 1, axis.metric, y + 11, axis.skill)


def radar_chart(axes: Sequence[Axis], series: Sequence[Series]) -> Markup | None:
    """One polygon per model that every axis has a score of; each axis begins at 0 and ends where its label says.

    None where there are too few axes for a radar.
    """
    if len(axes) < FEWEST_AXES:
        return None
    width, height, radius = 560, 430, 140
    centre = (width / 2, height / 2)
    directions = [_direction(index, len(axes)) for index in range(len(axes))]
    parts = [_ring(centre, directions, radius * share) for share in (0.25, 0.5, 0.75, 1.0)]
    for axis, direction in zip(axes, directions, strict=True):
        parts.append(_spoke(centre, direction, radius))
        parts.append(_axis_label(axis, centre, direction, radius + 14))
    for one in series:
        shares = [_share(axis, one) for axis in axes]
        points = [
            _point(centre, direction, radius * share)
            for direction, share in zip(directions, shares, strict=True)
            if share is not None
        ]
        if len(points) == len(axes):
            parts.append(Markup('<path class="area {}" d="{}"/>').format(one.mark, _closed(points)))
            parts += [
                Markup('<circle class="dot {}" cx="{:.1f}" cy="{:.1f}" r="3"/>').format(one.mark, *p) for p in points
            ]
    return svg(width, height, _told(axes), Markup("").join(parts))


def _share(axis: Axis, series: Series) -> float | None:
    """How far along its axis a model's mean lies, in [0, 1]."""
    means = {one: interval.mean for one, interval in axis.scores}
    return min(max(means[series], 0.0) / axis.end, 1.0) if series in means else None


def _direction(index: int, count: int) -> tuple[float, float]:
    angle = 2 * math.pi * index / count - math.pi / 2
    return math.cos(angle), math.sin(angle)


def _point(centre: tuple[float, float], direction: tuple[float, float], distance: float) -> tuple[float, float]:
    return centre[0] + distance * direction[0], centre[1] + distance * direction[1]


def _ring(centre: tuple[float, float], directions: Sequence[tuple[float, float]], distance: float) -> Markup:
    points = [_point(centre, direction, distance) for direction in directions]
    return Markup('<path class="grid ring" d="{}"/>').format(_closed(points))


def _spoke(centre: tuple[float, float], direction: tuple[float, float], radius: float) -> Markup:
    end = _point(centre, direction, radius)
    return Markup('<line class="grid" x1="{:.1f}" y1="{:.1f}" x2="{:.1f}" y2="{:.1f}"/>').format(*centre, *end)


def _axis_label(axis: Axis, centre: tuple[float, float], direction: tuple[float, float], distance: float) -> Markup:
    x, y = _point(centre, direction, distance)
    anchor = "middle" if abs(direction[0]) < 0.3 else "start" if direction[0] > 0 else "end"
    lines = [axis.skill, axis.metric] if axis.skill else [axis.metric]
    lines.append(f"0 to {axis.end:g}")
    first = y + 4 - 6 * (len(lines) - 1) * (1 - direction[1])  # above the radar's top, below its bottom
    return Markup("").join(
        Markup('<text class="{}" x="{:.1f}" y="{:.1f}" text-anchor="{}">{}</text>').format(
            "tick" if row else "label", x, first + 12 * row, anchor, line
        )
        for row, line in enumerate(lines)
    )


def _closed(points: Sequence[tuple[float, float]]) -> str:
    return " ".join(f"{'M' if index == 0 else 'L'}{x:.1f} {y:.1f}" for index, (x, y) in enumerate(points)) + " Z"


def _told(axes: Sequence[Axis]) -> str:
    return "; ".join(
        f"{axis.label}: " + ", ".join(f"{series.name} {interval.mean:.3f}" for series, interval in axis.scores)
        for axis in axes
    )
