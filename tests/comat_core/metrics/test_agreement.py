"""Krippendorff's alpha, beside published examples and the definition worked out pair by pair."""

from collections.abc import Sequence
from fractions import Fraction
from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from comat_core.metrics.agreement import nominal_alpha


def units_of(*raters: str) -> list[list[str]]:
    """The values of each unit, from one line per rater; a dot stands for a value that is missing."""
    return [[value for value in column if value != "."] for column in zip(*raters, strict=True)]


@pytest.mark.parametrize(
    ("raters", "alpha"),
    [
        # Krippendorff (2011): two raters with two values, with five values, and four raters with gaps.
        (("0100000010", "1110010000"), 0.095),
        (("aabbdcccedda", "babbbccceddd"), 0.692),
        (("123321412...", "1233224125.3", ".3332342251.", "12332441251."), 0.743),
        # Three raters and fifteen units, most of them with gaps, as encyclopaedias work it out.
        ((".....34121133.3", "1.213343.......", "..21344.21133.4"), 0.691),
    ],
)
def test_published_examples(raters: tuple[str, ...], alpha: float) -> None:
    found = nominal_alpha(units_of(*raters))
    assert found is not None
    assert round(found, 3) == alpha


def alpha_by_definition(units: Sequence[Sequence[str]]) -> Fraction | None:
    """The definition, pair by pair: every ordered pair of values is looked at by itself."""
    pairable = [unit for unit in units if len(unit) >= 2]
    values = [value for unit in pairable for value in unit]
    observed = Fraction(0)
    for unit in pairable:
        for one, other in permutations(unit, 2):
            observed += Fraction(int(one != other), len(unit) - 1)
    everywhere = [int(one != other) for one, other in permutations(values, 2)]
    if not sum(everywhere):
        return None
    return 1 - (observed / len(values)) / Fraction(sum(everywhere), len(everywhere))


@given(st.lists(st.lists(st.sampled_from(["base", "tie", "tuned"]), max_size=5), max_size=8))
def test_it_is_the_definition_worked_out_pair_by_pair(units: list[list[str]]) -> None:
    expected, found = alpha_by_definition(units), nominal_alpha(units)
    if expected is None:
        assert found is None
    else:
        assert found == pytest.approx(float(expected), abs=1e-12)


def test_raters_who_agree_wherever_they_meet_have_one() -> None:
    assert nominal_alpha([["a", "a"], ["b", "b", "b"], ["c"]]) == 1.0


def test_raters_who_always_contradict_each_other_have_less_than_chance() -> None:
    found = nominal_alpha([["a", "b"]] * 10)
    assert found is not None
    assert found < 0


@pytest.mark.parametrize("units", [[], [["a"], ["b"]], [["a", "a"], ["a", "a"]]])
def test_where_nothing_could_disagree_there_is_no_alpha(units: list[list[str]]) -> None:
    assert nominal_alpha(units) is None
