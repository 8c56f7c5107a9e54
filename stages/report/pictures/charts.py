"""Charts as inline SVG. Colours come from the page's CSS classes, so that they follow its light or dark theme."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

SMOOTHING_SHARE = 0.08
"""Width of the smoothing window of a curve, as a share of its length."""


@dataclass(frozen=True)
class Interval:
    """A mean with its interval."""

    mean: float
    low: float
    high: float


@dataclass(frozen=True)
class Frame:
    """A chart's drawing area in SVG units, and the values at its edges."""

    left: float
    right: float
    top: float
    bottom: float
    x_low: float
    x_high: float
    y_low: float
    y_high: float

    def x(self, value: float) -> float:
        return self.left + (value - self.x_low) / (self.x_high - self.x_low) * (self.right - self.left)

    def y(self, value: float) -> float:
        return self.bottom - (value - self.y_low) / (self.y_high - self.y_low) * (self.bottom - self.top)


@dataclass(frozen=True)
class Series:
    """A model in a chart: its name, and the CSS class of its colour."""

    name: str
    mark: str


FURTHER_MARKS = 4


def series_of(models: Sequence[str]) -> list[Series]:
    """Base and tuned have colours of their own; further models take turns with the others."""
    further = [model for model in models if model not in ("base", "tuned")]
    marks = {model: f"further{index % FURTHER_MARKS}" for index, model in enumerate(further)}
    return [Series(model, marks.get(model, model)) for model in models]


def interval_chart(scores: Sequence[tuple[Series, Interval]], highest: float) -> Markup:
    """The models' means with their intervals, one below the other, on one axis from 0 to `highest`."""
    width, height = 220, 12 + 12 * len(scores)
    frame = Frame(6, width - 6, 0, height, 0.0, highest, 0.0, 1.0)
    ticks = Markup("").join(
        Markup('<line class="grid" x1="{0:.1f}" x2="{0:.1f}" y1="3" y2="{1}"/>').format(frame.x(value), height - 3)
        for value in ticks_between(0.0, highest, 4)
    )
    marks = Markup("").join(
        _interval_mark(frame, interval, series.mark, 12.0 + 12 * row) for row, (series, interval) in enumerate(scores)
    )
    told = ", ".join(f"{series.name} {interval.mean:.3f}" for series, interval in scores)
    return svg(width, height, f"{told}, on a scale from 0 to {highest:g}", ticks + marks)


def _interval_mark(frame: Frame, interval: Interval, mark: str, y: float) -> Markup:
    return Markup(
        '<line class="range {mark}" x1="{low:.1f}" x2="{high:.1f}" y1="{y:.1f}" y2="{y:.1f}"/>'
        '<circle class="dot {mark}" cx="{mean:.1f}" cy="{y:.1f}" r="4"/>'
    ).format(mark=mark, y=y, low=frame.x(interval.low), high=frame.x(interval.high), mean=frame.x(interval.mean))


def line_chart(label: str, xs: Sequence[float], ys: Sequence[float]) -> Markup:
    """One curve: the values as they are, faint, and their running mean. Values that are not finite are left out."""
    points = [(x, y) for x, y in zip(xs, ys, strict=True) if math.isfinite(x) and math.isfinite(y)]
    width, height = 340, 180
    if not points:
        return svg(width, height, f"{label}: no finite value", Markup(""))
    smooth = list(zip([x for x, _ in points], running_mean([y for _, y in points]), strict=True))
    x_low, x_high = _spread(min(x for x, _ in points), max(x for x, _ in points))
    y_low, y_high = _spread(min(y for _, y in points), max(y for _, y in points))
    margin = 0.06 * (y_high - y_low)
    frame = Frame(46, width - 14, 10, height - 22, x_low, x_high, y_low - margin, y_high + margin)
    drawing = _axes(frame)
    if len(points) <= 400:
        drawing += _path(frame, points, "raw")
    drawing += _path(frame, smooth, "smooth")
    return svg(width, height, f"{label}, from {smooth[0][1]:.4g} to {smooth[-1][1]:.4g}", drawing)


def running_mean(values: Sequence[float]) -> list[float]:
    """Mean over a centred window, which loses its outer part at both ends."""
    reach = int(len(values) * SMOOTHING_SHARE / 2)
    sums = [0.0]
    for value in values:
        sums.append(sums[-1] + value)
    means = []
    for index in range(len(values)):
        first, last = max(index - reach, 0), min(index + reach, len(values) - 1)
        means.append((sums[last + 1] - sums[first]) / (last + 1 - first))
    return means


def ticks_between(low: float, high: float, count: int) -> list[float]:
    """At most about `count` round values in [low, high]: multiples of 1, 2 or 5 times a power of ten."""
    if not high > low:
        return [low]
    rough = (high - low) / count
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough * (1 - 1e-9))
    first = math.ceil(low / step - 1e-9)
    last = math.floor(high / step + 1e-9)
    return [index * step for index in range(first, last + 1)]


def _spread(low: float, high: float) -> tuple[float, float]:
    if high > low:
        return low, high
    reach = abs(low) * 0.1 or 1.0
    return low - reach, high + reach


def grid_lines(frame: Frame, count: int, gap: float) -> list[Markup]:
    """About so many lines across a frame, with their values on its left, at a distance of the gap."""
    return [
        Markup(
            '<line class="grid" x1="{left}" x2="{right}" y1="{y:.1f}" y2="{y:.1f}"/>'
            '<text class="tick" x="{text:.1f}" y="{base:.1f}" text-anchor="end">{value:.4g}</text>'
        ).format(
            left=frame.left,
            right=frame.right,
            y=frame.y(value),
            text=frame.left - gap,
            base=frame.y(value) + 3.5,
            value=value,
        )
        for value in ticks_between(frame.y_low, frame.y_high, count)
    ]


def _axes(frame: Frame) -> Markup:
    parts = grid_lines(frame, 4, gap=6)
    parts += [
        Markup('<text class="tick" x="{x:.1f}" y="{y:.1f}" text-anchor="middle">{value}</text>').format(
            x=frame.x(value), y=frame.bottom + 16, value=f"{value:g}"
        )
        for value in ticks_between(frame.x_low, frame.x_high, 4)
    ]
    return Markup("").join(parts)


def _path(frame: Frame, points: Sequence[tuple[float, float]], name: str) -> Markup:
    steps = " ".join(
        f"{'M' if index == 0 else 'L'}{frame.x(x):.1f} {frame.y(y):.1f}" for index, (x, y) in enumerate(points)
    )
    return Markup('<path class="{}" d="{}"/>').format(name, steps)


def svg(width: int, height: int, label: str, drawing: Markup) -> Markup:
    """A drawing of so many units, with its description for those who cannot see it."""
    return Markup(
        '<svg viewBox="0 0 {w} {h}" width="{w}" height="{h}" role="img"><title>{label}</title>{drawing}</svg>'
    ).format(w=width, h=height, label=label, drawing=drawing)
