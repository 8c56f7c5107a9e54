import numpy as np
import pytest

from comat_core.metrics.bootstrap import (
    bootstrap_difference,
    bootstrap_mean,
    bootstrap_mean_of_groups,
    group_by_prompt,
    make_numpy_generator,
    percentile_interval,
)


def generator(purpose="test"):
    return make_numpy_generator(7, purpose)


def test_mean_is_over_images_and_n_counts_prompts():
    # Prompt a has three images, b one: the mean over images is (1 + 1 + 1 + 0) / 4, over prompts it would be 0.5.
    estimate = bootstrap_mean([1.0, 1.0, 1.0, 0.0], ["a", "a", "a", "b"], generator())
    assert estimate.mean == 0.75
    assert estimate.n == 2
    assert (estimate.low, estimate.high) == (0.0, 1.0)  # a draw of two prompts is a a, a b or b b


def test_interval_of_many_prompts_agrees_with_the_normal_approximation():
    values = np.random.default_rng(0).normal(3.0, 2.0, 400)
    estimate = bootstrap_mean(values, [str(index) for index in range(400)], generator())
    half_width = 1.96 * values.std() / 20
    assert estimate.low == pytest.approx(values.mean() - half_width, abs=0.04)
    assert estimate.high == pytest.approx(values.mean() + half_width, abs=0.04)


def test_images_of_one_prompt_are_not_taken_for_independent():
    by_prompt = np.random.default_rng(1).normal(size=50)
    prompts = [str(index) for index in range(50)]
    single = bootstrap_mean(by_prompt, prompts, generator())
    tenfold = bootstrap_mean(np.repeat(by_prompt, 10), np.repeat(prompts, 10).tolist(), generator())
    assert tenfold.high - tenfold.low == pytest.approx(single.high - single.low, rel=0.02)


def test_difference_is_paired():
    # The two models differ by exactly 0.1 on every image, however much the images differ among themselves.
    base = np.random.default_rng(2).uniform(0, 0.9, 60)
    difference = bootstrap_difference(base, base + 0.1, [str(index // 2) for index in range(60)], generator())
    assert difference.mean == pytest.approx(0.1)
    assert difference.low == pytest.approx(0.1)
    assert difference.high == pytest.approx(0.1)


def test_sign_of_the_difference_is_tuned_minus_base():
    assert bootstrap_difference([0.0, 0.2], [1.0, 0.8], ["a", "b"], generator()).mean == pytest.approx(0.8)


def test_same_seed_and_purpose_give_the_same_interval_and_another_purpose_does_not():
    values, prompts = np.arange(30.0), [str(index) for index in range(30)]
    first = bootstrap_mean(values, prompts, generator("one"))
    assert first == bootstrap_mean(values, prompts, generator("one"))
    assert first != bootstrap_mean(values, prompts, generator("two"))


def test_interval_holds_the_central_95_percent():
    low, high = percentile_interval(np.arange(1001.0))
    assert (low, high) == (pytest.approx(25.0), pytest.approx(975.0))


def test_rows_are_grouped_in_the_order_of_their_prompts_first_appearance():
    groups = group_by_prompt(["b", "a", "b"])
    assert [group.tolist() for group in groups] == [[0, 2], [1]]


def test_nothing_cannot_be_averaged():
    with pytest.raises(AssertionError, match="nothing to average"):
        bootstrap_mean([], [], generator())


def test_groups_weigh_alike_and_prompts_are_drawn_within_theirs():
    # Group x: prompts a (1, 1) and b (0): 2/3. Group y: prompt c (1): 1. The mean of both is 5/6, not 3/4.
    values, prompts, groups = [1.0, 1.0, 0.0, 1.0], ["a", "a", "b", "c"], ["x", "x", "x", "y"]
    estimate = bootstrap_mean_of_groups(values, prompts, groups, generator())
    assert estimate.mean == pytest.approx(5 / 6)
    assert estimate.n == 3
    assert (estimate.low, estimate.high) == (0.5, 1.0)  # c is always drawn: (0 + 1) / 2 to (1 + 1) / 2


def test_one_group_is_the_plain_mean():
    values = np.random.default_rng(2).normal(size=30)
    prompts = [str(index // 3) for index in range(30)]
    grouped = bootstrap_mean_of_groups(values, prompts, ["x"] * 30, generator())
    assert grouped == bootstrap_mean(values, prompts, generator())
