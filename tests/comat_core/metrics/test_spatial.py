import pytest

from comat_core.metrics.spatial import (
    Detection,
    Mode,
    intersection_over_union,
    locality_of,
    position_score,
    spatial_score,
)


def box(label, x, y, side=40.0, confidence=0.8):
    """A square box by its centre."""
    return Detection(label, confidence, x - side / 2, y - side / 2, x + side / 2, y + side / 2)


def place(locality, x, y, mode: Mode = "corrected", side=40.0):
    """Score of a first object at (x, y) from a second one in the middle of the frame."""
    return position_score(locality, box("a", 240 + x, 240 + y, side), box("b", 240, 240, side), mode)


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        ("a cat on the left of a dog", "on the left of"),
        ("a cat on the top of a box", "on the top of"),
        ("a cat on top of a box", "on top of"),
        ("a cat on side of a car near a tree", "on side of"),
        ("a cat and a dog", None),
    ],
)
def test_locality_is_the_first_of_the_list_in_the_prompt(prompt, expected):
    assert locality_of(prompt) == expected


@pytest.mark.parametrize(
    ("locality", "x", "y", "expected"),
    [
        ("on the left of", -100, 0, 1.0),
        ("on the left of", 100, 0, 0.0),
        ("on the left of", -100, 99, 1.0),
        ("on the left of", -100, 100, 0.0),  # as far down as to the left
        ("on the right of", 100, -50, 1.0),
        ("on the top of", 0, -100, 1.0),
        ("on the top of", 0, 100, 0.0),
        ("on the bottom of", 10, 100, 1.0),
        ("next to", 200, 149, 1.0),  # near along one axis
        ("next to", 200, 160, 0.75),  # 150 / 200
        ("near", -150, 300, 0.5),
        ("under", 0, 100, 0.0),
        (None, -100, 0, 0.0),
    ],
)
def test_place_of_separate_boxes(locality, x, y, expected):
    assert place(locality, x, y) == pytest.approx(expected)


def test_overlap_lowers_the_score():
    # Squares of side 40, 20 apart: intersection 20 * 40 = 800, union 2 * 1600 - 800 = 2400, a third.
    assert intersection_over_union(box("a", 0, 0), box("b", 20, 0)) == pytest.approx(1 / 3)
    assert place("on the left of", -20, 0) == pytest.approx(0.1 / (1 / 3))
    # 36 apart: 4 * 40 = 160 of 3040, below a tenth.
    assert place("on the left of", -36, 0) == 1.0


def test_boxes_without_area_do_not_overlap():
    assert intersection_over_union(box("a", 0, 0, side=0), box("b", 0, 0, side=0)) == 0


def test_on_top_of_never_scores_in_the_official_mode():
    assert place("on top of", 0, -100, "official") == 0.0
    assert place("on top of", 0, -100, "corrected") == 1.0
    assert place("on the top of", 0, -100, "official") == 1.0


def test_both_objects_in_place():
    found = [box("dog", 300, 240, confidence=0.9), box("cat", 100, 240, confidence=0.7)]
    assert spatial_score(found, ("cat", "dog"), "on the left of") == pytest.approx(0.25 * 0.9 + 0.25 * 0.7 + 0.5)


def test_scores_below_a_half_are_0():
    found = [box("dog", 300, 240, confidence=0.9), box("cat", 100, 240, confidence=0.7)]
    assert spatial_score(found, ("cat", "dog"), "on the right of") == 0.0  # 0.4
    sure = [box("dog", 300, 240, confidence=1.0), box("cat", 100, 240, confidence=1.0)]
    assert spatial_score(sure, ("cat", "dog"), "on the right of") == 0.5
    assert spatial_score(sure[:1], ("cat", "dog"), "on the left of") == 0.0  # 0.25


def test_the_first_box_with_exactly_the_nouns_label_counts():
    found = [
        box("cattle, cow", 0, 0),
        box("person", 400, 240, confidence=1.0),
        box("dog", 100, 240, confidence=1.0),
        box("dog", 450, 240, confidence=0.6),
    ]
    assert spatial_score(found, ("dog", "woman"), "on the left of") == 1.0
    assert spatial_score(found, ("cow", "dog"), "on the left of") == 0.0
