"""The bar and the radar chart: which scores they draw, and where."""

import re

import pytest

from stages.report.pictures.charts import series_of
from stages.report.pictures.figures import bar_chart, choose_axes, radar_chart
from stages.report.tables.scores import Evaluation, score_rows
from tests.stages.fake_run import summary
from tests.stages.report.pictures.test_charts import NAMESPACE, parse

UNSEEN = "attribute_binding/color_not_in_training"


def benchmark(name, base, tuned, **further):
    document = summary(name, base, tuned, 10)
    for model, scores in further.items():
        document["models"][model] = {
            metric: {"mean": value, "low": value, "high": value, "n": 10} for metric, value in scores.items()
        }
    return Evaluation(name, "protocol", "corrected", None, score_rows(document))


@pytest.fixture
def benchmarks():
    return [
        benchmark("judge", {"exact": 0.1, "all_right": 0.2}, {"exact": 0.2, "all_right": 0.4}),
        benchmark(
            "attributes",
            {"attribute_binding": 0.3, "attribute_binding/color": 0.2, "attribute_binding/<b>": 0.4, UNSEEN: 0.1},
            {"attribute_binding": 0.5, "attribute_binding/color": 0.6, "attribute_binding/<b>": 0.4, UNSEEN: 0.2},
            pixart={"attribute_binding/color": 0.7},
        ),
        benchmark("fidelity", {"frechet_distance/dino": 7.0}, {"frechet_distance/dino": 8.0}),
        benchmark("tifa", {"tifa": 0.5, "tifa/color": 0.4}, {"tifa": 0.75, "tifa/color": 0.9}),
    ]


def test_axes_are_shares_with_attribute_binding_by_skill(benchmarks):
    axes = choose_axes(benchmarks, series_of(["base", "tuned", "pixart"]))
    assert [axis.label for axis in axes] == [
        "Attribute binding, color",
        "Attribute binding, <b>",
        "TIFA",
        "All objects right",
    ]
    assert [axis.end for axis in axes] == [0.75, 0.5, 0.75, 0.5]
    assert [series.name for series, _ in axes[0].scores] == ["base", "tuned", "pixart"]


def test_bars_are_as_long_as_their_means(benchmarks):
    axes = choose_axes(benchmarks, series_of(["base", "tuned", "pixart"]))
    svg = parse(bar_chart(axes))
    bars = [(bar.get("class"), float(bar.get("width") or "nan")) for bar in svg.iter(f"{NAMESPACE}rect")]
    scale = 570 - 200
    assert bars[:3] == [
        ("bar base", pytest.approx(0.2 * scale, abs=0.1)),
        ("bar tuned", pytest.approx(0.6 * scale, abs=0.1)),
        ("bar further0", pytest.approx(0.7 * scale, abs=0.1)),
    ]
    assert len(bars) == 9


def test_radar_draws_models_that_every_axis_knows(benchmarks):
    series = series_of(["base", "tuned", "pixart"])
    axes = choose_axes(benchmarks, series)
    svg = parse(radar_chart(axes, series))
    areas = {
        path.get("class"): path.get("d") for path in svg.iter(f"{NAMESPACE}path") if "area" in path.get("class", "")
    }
    assert set(areas) == {"area base", "area tuned"}
    # The first axis points up from the centre (280, 215), 140 units long, to 0.75: the tuned mean of 0.6 is 4/5 of it.
    x, y = map(float, re.findall(r"[\d.]+", areas["area tuned"] or "")[:2])
    assert (x, y) == (pytest.approx(280, abs=0.1), pytest.approx(215 - 140 * 0.8, abs=0.1))


def test_two_axes_are_no_radar(benchmarks):
    series = series_of(["base", "tuned"])
    assert radar_chart(choose_axes(benchmarks[2:], series), series) is None
