import math
import re
from xml.etree import ElementTree

import pytest

from stages.report.pictures.charts import Interval, interval_chart, line_chart, running_mean, series_of, ticks_between

NAMESPACE = "{http://www.w3.org/2000/svg}"


def test_further_models_have_colours_of_their_own():
    assert [one.mark for one in series_of(["base", "tuned", "a", "b"])] == ["base", "tuned", "further0", "further1"]


def parse(svg):
    return ElementTree.fromstring(str(svg).replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" ', 1))


@pytest.mark.parametrize(
    ("low", "high", "count", "expected"),
    [
        (0.0, 1.0, 4, [0.0, 0.5, 1.0]),
        (0.0, 1.0, 5, [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]),
        (3.0, 97.0, 4, [50.0]),
        (0.0, 150.0, 4, [0.0, 50.0, 100.0, 150.0]),
        (-0.02, 0.05, 4, [-0.02, 0.0, 0.02, 0.04]),
        (2.0, 2.0, 4, [2.0]),
    ],
)
def test_ticks_are_round_values_inside_the_range(low, high, count, expected):
    assert ticks_between(low, high, count) == pytest.approx(expected)


def test_running_mean_averages_a_centred_window_that_ends_cut_off():
    values = [float(value) for value in range(100)]  # a window of 9: four on either side
    means = running_mean(values)
    assert means[50] == pytest.approx(50.0)
    assert means[0] == pytest.approx((0 + 1 + 2 + 3 + 4) / 5)
    assert means[99] == pytest.approx(97.0)
    assert running_mean([5.0]) == [5.0]
    assert running_mean([1.0, 3.0]) == [1.0, 3.0]  # too short to be smoothed


def test_interval_chart_places_means_on_its_scale():
    base, tuned, other = series_of(["base", "tuned", "pixart"])
    scores = [(base, Interval(0.25, 0.2, 0.3)), (tuned, Interval(0.75, 0.7, 0.8)), (other, Interval(0.5, 0.4, 0.6))]
    svg = parse(interval_chart(scores, highest=1.0))
    dots = {dot.get("class"): float(dot.get("cx") or "nan") for dot in svg.iter(f"{NAMESPACE}circle")}
    left, right = 6, 214  # of an axis from 0 to 1
    assert dots == {
        "dot base": pytest.approx(left + 0.25 * (right - left)),
        "dot tuned": pytest.approx(left + 0.75 * (right - left)),
        "dot further0": pytest.approx(left + 0.5 * (right - left)),
    }


def test_line_chart_leaves_values_out_that_are_not_finite():
    svg = parse(line_chart("loss", [1, 2, 3, 4], [1.0, math.nan, 3.0, math.inf]))
    raw = next(path for path in svg.iter(f"{NAMESPACE}path") if path.get("class") == "raw")
    assert len(re.findall("[ML]", raw.get("d") or "")) == 2
    assert svg.findtext(f"{NAMESPACE}title") == "loss, from 1 to 3"


@pytest.mark.parametrize("values", [[], [math.nan], [2.0], [0.0, 0.0, 0.0]])
def test_line_chart_draws_degenerate_series(values):
    svg = str(line_chart("loss", list(range(len(values))), values))
    parse(svg)
    assert "nan" not in svg.replace("no finite", "")


def test_labels_are_escaped():
    svg = line_chart('<script>"&', [0, 1], [0.0, 1.0])
    parse(svg)
    assert "<script>" not in svg
