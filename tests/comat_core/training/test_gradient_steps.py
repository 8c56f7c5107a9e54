from collections import Counter

import pytest

from comat_core.support.errors import UserError
from comat_core.support.randomness import make_generator
from comat_core.training.gradient_steps import gradient_steps_strided, gradient_steps_uniform


def test_uniform_steps_are_distinct_sorted_and_evenly_spread() -> None:
    draws = [gradient_steps_uniform(10, 3, make_generator(1, "draw", index)) for index in range(2000)]
    assert all(len(set(draw)) == 3 and list(draw) == sorted(draw) for draw in draws)
    counts = Counter(step for draw in draws for step in draw)
    assert set(counts) == set(range(10))
    assert all(abs(count - 600) < 100 for count in counts.values())
    assert len(set(draws)) == 120, "every choice of 3 out of 10 can come"


@pytest.mark.parametrize(("num_steps", "count"), [(50, 5), (50, 7), (12, 4), (5, 5), (3, 1)])
def test_strided_steps_follow_the_releases_formula(num_steps: int, count: int) -> None:
    draws = [gradient_steps_strided(num_steps, count, make_generator(1, "draw", index)) for index in range(600)]
    stride = num_steps // count
    assert all(draw == tuple(range(draw[0], draw[0] + stride * count, stride))[:count] for draw in draws)
    largest_first = num_steps - stride * (count - 1) - 1
    assert {draw[0] for draw in draws} == set(range(largest_first + 1))


def test_a_draw_depends_on_its_generator_alone() -> None:
    for draw in (gradient_steps_uniform, gradient_steps_strided):
        assert draw(50, 5, make_generator(1, "draw", 3)) == draw(50, 5, make_generator(1, "draw", 3))
        assert draw(50, 0, make_generator(1, "draw", 3)) == ()


def test_more_gradient_steps_than_steps_are_refused() -> None:
    for draw in (gradient_steps_uniform, gradient_steps_strided):
        with pytest.raises(UserError, match=r"6 gradient steps asked of 5 denoising steps.*from 0 to 5"):
            draw(5, 6, make_generator(1, "draw"))
