"""Intervals over raters and prompts at once."""

from itertools import product

import numpy as np
import pytest

from comat_core.metrics.bootstrap import bootstrap_mean, make_numpy_generator, percentile_interval
from comat_core.metrics.crossed_bootstrap import crossed_bootstrap_mean


def table(raters: int, prompts: int) -> tuple[list[int], list[int]]:
    """Every rater's answer on every prompt: rater and prompt of each."""
    pairs = list(product(range(raters), range(prompts)))
    return [rater for rater, _ in pairs], [prompt for _, prompt in pairs]


def test_mean_is_that_of_the_answers_given() -> None:
    found = crossed_bootstrap_mean([1, 0, 1], "aab", "xyx", make_numpy_generator(0, "test"))
    assert found.mean == pytest.approx(2 / 3)
    assert found.n == 2
    assert found.low <= found.mean <= found.high


def test_interval_is_that_of_answers_copied_as_often_as_rater_and_prompt_were_drawn() -> None:
    raters, prompts = table(3, 6)
    kept = [index for index in range(18) if index not in (7, 11, 16)]  # some answers are missing
    raters, prompts = [raters[index] for index in kept], [prompts[index] for index in kept]
    values = make_numpy_generator(1, "values").integers(0, 2, len(kept)).astype(float)
    found = crossed_bootstrap_mean(values, raters, prompts, make_numpy_generator(2, "slow"), resamples=200)

    generator = make_numpy_generator(2, "slow")
    drawn_raters, drawn_prompts = generator.integers(0, 3, (200, 3)), generator.integers(0, 6, (200, 6))
    means = []
    for some, others in zip(drawn_raters, drawn_prompts, strict=True):
        copies = [
            value
            for rater, prompt in product(some, others)
            for value, own_rater, own_prompt in zip(values, raters, prompts, strict=True)
            if (own_rater, own_prompt) == (rater, prompt)
        ]
        means.append(np.mean(copies))
    assert (found.low, found.high) == pytest.approx(percentile_interval(np.array(means)))


def test_a_single_rater_leaves_the_interval_over_prompts() -> None:
    values = make_numpy_generator(3, "values").random(40)
    crossed = crossed_bootstrap_mean(values, ["a"] * 40, range(40), make_numpy_generator(4, "a"), resamples=20_000)
    plain = bootstrap_mean(values, [str(one) for one in range(40)], make_numpy_generator(5, "b"), resamples=20_000)
    assert (crossed.low, crossed.high) == pytest.approx((plain.low, plain.high), abs=0.004)


def test_raters_of_different_minds_widen_the_interval() -> None:
    raters, prompts = table(4, 50)
    of_one_mind = [float(prompt % 2) for prompt in prompts]
    of_two_minds = [float(rater % 2) for rater in raters]
    generator = make_numpy_generator(6, "test")
    agreed = crossed_bootstrap_mean(of_one_mind, raters, prompts, generator)
    split = crossed_bootstrap_mean(of_two_minds, raters, prompts, generator)
    assert agreed.mean == split.mean == 0.5
    assert split.high - split.low > 2 * (agreed.high - agreed.low)


def test_resamples_without_an_answer_say_nothing() -> None:
    # Each rater has answered on a prompt of their own: a resample may combine one with the other's.
    found = crossed_bootstrap_mean([1.0, 1.0], "ab", "xy", make_numpy_generator(7, "test"))
    assert (found.mean, found.low, found.high) == (1.0, 1.0, 1.0)


def test_intervals_cover_the_truth_in_most_made_up_studies() -> None:
    covered = 0
    for trial in range(60):
        generator = make_numpy_generator(trial, "world")
        prompt_lean, rater_lean = 0.2 * generator.standard_normal(40), 0.1 * generator.standard_normal(6)
        raters, prompts = table(6, 40)
        chances = np.clip([0.5 + prompt_lean[p] + rater_lean[r] for r, p in zip(raters, prompts, strict=True)], 0, 1)
        votes = generator.random(len(chances)) < chances
        found = crossed_bootstrap_mean(votes, raters, prompts, generator, resamples=300)
        covered += found.low <= 0.5 <= found.high
    assert covered >= 51  # 85 %: six raters are few for a percentile interval
