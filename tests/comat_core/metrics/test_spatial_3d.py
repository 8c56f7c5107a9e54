"""3D-spatial: scores of constructed boxes and depths, worked out by hand from the official definition."""

import numpy as np
import pytest

from comat_core.metrics.spatial import Detection
from comat_core.metrics.spatial_3d import choose_boxes, depth_score, mean_nearness, spatial_3d_score

SIDE = 100
NEARER_BELOW = np.repeat(np.arange(SIDE, dtype=np.float32)[:, None] / SIDE, SIDE, axis=1)
"""Row y is at y / 100: the lower, the nearer."""


def box(x, y, width=20.0, height=20.0, label="dog", confidence=0.8):
    return Detection(label, confidence, x, y, x + width, y + height)


@pytest.mark.parametrize("mode", ["official", "corrected"])
def test_nearness_and_overlap_make_the_score(mode):
    # Two boxes of 20 x 20 px, one 5 px lower and to the right: 15 * 15 = 225 of 575 in common, 0.391 of a half.
    lower, upper = box(45, 45), box(40, 40)
    expected = pytest.approx(225 / 575 / 0.5)
    assert depth_score("in front of", lower, upper, NEARER_BELOW, mode) == expected
    assert depth_score("in front of", upper, lower, NEARER_BELOW, mode) == 0.0
    assert depth_score("behind", upper, lower, NEARER_BELOW, mode) == expected
    assert depth_score("hidden", upper, lower, NEARER_BELOW, mode) == expected
    assert depth_score("hidden", lower, upper, NEARER_BELOW, mode) == 0.0
    assert depth_score("near", lower, upper, NEARER_BELOW, mode) == 0.0
    assert depth_score(None, lower, upper, NEARER_BELOW, mode) == 0.0


@pytest.mark.parametrize("mode", ["official", "corrected"])
def test_more_than_half_in_common_counts_whole_and_apart_nothing(mode):
    lower, upper = box(42, 42), box(40, 40)  # 18 * 18 = 324 of 476 in common: 0.68
    assert depth_score("in front of", lower, upper, NEARER_BELOW, mode) == 1.0
    assert depth_score("in front of", box(70, 70), upper, NEARER_BELOW, mode) == 0.0
    assert depth_score("in front of", lower, upper, np.ones((SIDE, SIDE), np.float32), mode) == 0.0  # same depth


def test_exactly_half_in_common_counts_nothing_in_the_official_mode():
    upper, lower = box(40, 40, 20, 20), box(40, 50, 20, 10)  # 200 of 400 in common
    assert depth_score("behind", upper, lower, NEARER_BELOW, "corrected") == 1.0
    # Read with rows and columns exchanged, the depths are 49.5 and 49.5: x is the same; so tilt the scene.
    tilted = NEARER_BELOW + NEARER_BELOW.T
    assert mean_nearness(tilted, upper, "official") < mean_nearness(tilted, lower, "official")
    assert depth_score("behind", upper, lower, tilted, "official") == 0.0


def test_the_official_mode_exchanges_rows_and_columns():
    one = box(10, 60)  # columns 10-29, rows 60-79
    assert mean_nearness(NEARER_BELOW, one, "corrected") == pytest.approx(0.695)
    assert mean_nearness(NEARER_BELOW, one, "official") == pytest.approx(0.195)
    assert np.isnan(mean_nearness(NEARER_BELOW, box(10.2, 10.2, 0.5, 0.5)))


def test_a_quarter_of_each_confidence_and_half_of_the_place():
    dog, desk = box(45, 45, label="dog", confidence=0.8), box(40, 40, label="desk", confidence=0.6)
    place = 225 / 575 / 0.5
    nouns = ("dog", "desk")
    assert spatial_3d_score([dog, desk], nouns, "in front of", NEARER_BELOW) == pytest.approx(0.35 + place / 2)
    assert spatial_3d_score([dog, desk], nouns, "behind", NEARER_BELOW) == pytest.approx(0.35)  # no least score
    assert spatial_3d_score([desk], nouns, "behind", NEARER_BELOW) == pytest.approx(0.15)
    assert spatial_3d_score([], nouns, "behind", NEARER_BELOW) == 0.0


def test_the_surest_box_stands_for_an_object_but_in_the_official_mode_the_last_seen_one():
    first, second, desk = box(0, 0), box(50, 50, confidence=0.7), box(20, 20, label="desk", confidence=0.6)
    late = box(70, 70, confidence=0.5)
    found = [first, second, desk, late]
    assert choose_boxes(found, ("dog", "desk")) == (first, desk)
    assert choose_boxes(found, ("dog", "desk"), "official") == (second, desk)
    assert choose_boxes(found, ("desk", "dog"), "official") == (desk, second)
    assert choose_boxes([first, second], ("dog", "desk"), "official") == (first, None)


def test_people_are_persons_in_the_official_mode_only():
    person, man = box(0, 0, label="person"), box(0, 0, label="man")
    assert choose_boxes([person], ("man", "dog"), "official") == (person, None)
    assert choose_boxes([person], ("man", "dog")) == (None, None)
    assert choose_boxes([man], ("man", "dog")) == (man, None)


def test_a_label_may_contain_the_noun_in_the_official_mode():
    cow = box(0, 0, label="cattle, cow")
    assert choose_boxes([cow], ("cow", "dog"), "official") == (cow, None)
    assert choose_boxes([cow], ("cow", "dog")) == (None, None)
