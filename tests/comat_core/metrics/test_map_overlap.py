"""Average precision of a map: against a slow count, and at its ends."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from comat_core.metrics.map_overlap import average_precision


def slow(scores: list[int], inside: list[bool]) -> float:
    """Precision at every threshold, weighted by the recall that it gains."""
    total, recalled, area = sum(inside), 0, 0.0
    for threshold in sorted(set(scores), reverse=True):
        taken = [one for score, one in zip(scores, inside, strict=True) if score >= threshold]
        area += (sum(taken) - recalled) / total * sum(taken) / len(taken)
        recalled = sum(taken)
    return area


@given(
    st.lists(st.tuples(st.integers(0, 5), st.booleans()), min_size=1, max_size=40).filter(
        lambda x: any(b for _, b in x)
    )
)
def test_it_is_the_area_under_the_curve(pixels: list[tuple[int, bool]]) -> None:
    scores, inside = [score for score, _ in pixels], [one for _, one in pixels]
    found = average_precision(torch.tensor(scores, dtype=torch.float32), torch.tensor(inside))
    assert found == pytest.approx(slow(scores, inside))


def test_a_perfect_map_has_one_and_a_flat_one_the_objects_share() -> None:
    inside = torch.tensor([True, False, False, True])
    assert average_precision(torch.tensor([0.4, 0.1, 0.2, 0.3]), inside) == 1.0
    assert average_precision(torch.zeros(4), inside) == 0.5
