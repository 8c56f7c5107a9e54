"""The brake's arithmetic: which weights are the best, how long nothing improved, where lambda goes."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from comat_core.training.brake import (
    Evaluation,
    Measurement,
    best_of,
    evaluations_since_best,
    is_within,
    judges_gain,
    largest_ratio,
    steered,
)

BASE = Measurement(
    scores={"vqa": -2.0, "git": -40.0},
    deviations={"vqa": 0.5, "git": 10.0},
    counts={"vqa": 8, "git": 8},
    distances={"dino": 4.0, "clip": 0.5},
)
NUMBERS = st.floats(-10, 10) | st.just(math.nan)
RATIOS = st.floats(0.01, 10) | st.just(math.nan) | st.just(math.inf)


def evaluation(step: int, gain: float, ratio: float, *, averaged: bool = False) -> Evaluation:
    return Evaluation(step=step, averaged=averaged, scores={}, distances={}, gain=gain, ratio=ratio)


SERIES = st.lists(st.tuples(NUMBERS, RATIOS), min_size=1, max_size=12).map(
    lambda rows: [evaluation(10 * (place + 1), *row) for place, row in enumerate(rows)]
)
BUDGETS = st.floats(0.5, 3)


@given(SERIES, BUDGETS)
def test_within_the_budget_nothing_gains_more_and_outside_it_nothing_is_nearer(
    series: list[Evaluation], budget: float
) -> None:
    best = best_of(series, budget)
    assert best is not None
    allowed = [one for one in series if is_within(one, budget)]
    finite = [one for one in series if one.is_finite]
    if allowed:
        assert best in allowed and best.gain == max(one.gain for one in allowed)
    elif finite:
        assert best in finite and best.ratio == min(one.ratio for one in finite)


@given(SERIES, BUDGETS)
def test_keeping_the_best_so_far_ends_at_the_best_of_all(series: list[Evaluation], budget: float) -> None:
    kept = None
    for count in range(1, len(series) + 1):
        if best_of(series[:count], budget) is series[count - 1]:
            kept = series[count - 1]
    assert kept is best_of(series, budget)


@given(SERIES, BUDGETS)
def test_patience_counts_the_steps_after_the_best(series: list[Evaluation], budget: float) -> None:
    best = best_of(series, budget)
    assert best is not None
    assert evaluations_since_best(series, budget) == len(series) - 1 - series.index(best)


def test_of_equals_the_first_stays_and_both_weights_of_a_step_count_as_one() -> None:
    series = [evaluation(10, 1, 1), evaluation(10, 1, 1, averaged=True), evaluation(20, 1, 1)]
    assert best_of(series, 1.05) is series[0]
    series += [evaluation(20, 0.5, 1, averaged=True), evaluation(30, 0, 1), evaluation(30, 0, 1, averaged=True)]
    assert evaluations_since_best(series, 1.05) == 2
    assert best_of([], 1.05) is None and evaluations_since_best([], 1.05) == 0


def test_the_gain_is_in_the_judges_own_units_and_weighted() -> None:
    scores = {"vqa": -1.0, "git": -50.0}
    assert judges_gain(scores, BASE, {"vqa": 1, "git": 1}) == pytest.approx((2 - 1) / 2)
    assert judges_gain(scores, BASE, {"vqa": 3, "git": 1}) == pytest.approx((3 * 2 - 1) / 4)
    assert judges_gain({"vqa": -1.0, "git": math.nan}, BASE, {"vqa": 1, "git": 0}) == pytest.approx(2)
    assert math.isnan(judges_gain({"vqa": math.nan, "git": -40.0}, BASE, {"vqa": 1, "git": 1}))
    alike = BASE.model_copy(update={"deviations": {"vqa": 0.0, "git": 0.0}})
    assert judges_gain(scores, alike, {"vqa": 1, "git": 0}) == 1


def test_the_ratio_is_that_of_the_distance_that_grew_most() -> None:
    assert largest_ratio({"dino": 4.4, "clip": 0.6}, BASE) == pytest.approx(1.2)
    assert largest_ratio({}, BASE) == 0
    assert math.isnan(largest_ratio({"dino": 4.0, "clip": math.nan}, BASE))
    none = BASE.model_copy(update={"distances": {"dino": 0.0}})
    assert largest_ratio({"dino": 0.1}, none) == math.inf
    assert largest_ratio({"dino": 0.0}, none) == 1


@given(st.floats(0.1, 10), RATIOS, BUDGETS, st.floats(0.1, 20))
def test_lambda_rises_beyond_the_budget_and_falls_within_it_but_keeps_to_its_bounds(
    weight: float, ratio: float, budget: float, gain: float
) -> None:
    found = steered(weight, ratio, budget=budget, gain=gain, lowest=0.1, highest=10)
    assert 0.1 <= found <= 10
    assert weight / 2 * (1 - 1e-9) <= found <= 2 * weight * (1 + 1e-9)
    if not math.isfinite(ratio):
        assert found == weight
    elif ratio > budget:
        assert found >= weight
    else:
        assert found <= weight


def test_lambda_follows_its_formula_between_the_bounds() -> None:
    assert steered(1.0, 1.1, budget=1.0, gain=2.0, lowest=0.1, highest=10) == pytest.approx(1.21)
