import json
import os
from collections import Counter
from pathlib import Path

import pytest

from comat_core.metrics.geneval import (
    Checks,
    Detection,
    Requirement,
    judge_image,
    read_checks,
    relations,
    select_detections,
)


def box(x, y, width=10.0, height=10.0, confidence=0.9):
    """A box by its centre."""
    return Detection(x - width / 2, y - height / 2, x + width / 2, y + height / 2, confidence)


def no_colours(_name, _found):
    raise AssertionError("no colour was asked for")


def colours(*answers):
    return lambda _name, found: answers[: len(found)]


@pytest.mark.parametrize(
    ("x", "y", "expected"),
    [
        (-50, 0, {"left of"}),
        (50, 0, {"right of"}),
        (0, -50, {"above"}),
        (0, 50, {"below"}),
        (50, 50, {"right of", "below"}),  # shortened to 48, 48 of a length of 70.7: 0.679 each
        (50, 25, {"right of"}),  # 48 / 55.9 = 0.859; 23 / 55.9 = 0.411
        (2, 0, set()),  # within a tenth of the summed sizes
        (3, 0, set()),  # shortened to 1 of 3: 0.333
        (5, 0, {"right of"}),  # shortened to 3 of 5: 0.6
        (0, 0, set()),
    ],
)
def test_relations_of_boxes_of_side_10(x, y, expected):
    assert relations(box(100 + x, 100 + y), box(100, 100)) == expected


def test_thresholds_order_and_number_of_detections():
    many = [box(0, 0, confidence=0.31 + index / 100) for index in range(20)]
    kept = select_detections({"dog": many, "cat": [box(0, 0, confidence=0.3)]}, "single_object")
    assert list(kept) == ["dog"]
    assert [one.confidence for one in kept["dog"]] == pytest.approx([0.5 - index / 100 for index in range(16)])
    assert select_detections({"dog": [box(0, 0, confidence=0.9), box(9, 9, confidence=0.91)]}, "counting") == {
        "dog": [box(9, 9, confidence=0.91)]
    }


def test_thresholds_may_be_set_for_other_detectors():
    found = {"dog": [box(0, 0, confidence=0.4), box(9, 9, confidence=0.6)]}
    assert select_detections(found, "counting", counting_confidence=0.5) == {"dog": [box(9, 9, confidence=0.6)]}
    assert select_detections(found, "colors", confidence=0.7) == {}


def test_metadata_are_read():
    row = {
        "tag": "position",
        "include": [
            {"class": "teddy bear", "count": 1, "color": "red"},
            {"class": "dog", "count": 2, "position": ["right of", 0]},
        ],
        "exclude": [{"class": "dog", "count": 3}],
    }
    bear, dogs = Requirement("teddy bear", 1, "red"), Requirement("dog", 2, None, ("right of", 0))
    checks = read_checks(row)
    assert checks == Checks("position", (bear, dogs), (Requirement("dog", 3),))
    assert checks.class_names == ["teddy bear", "dog"]
    with pytest.raises(ValueError, match="does not stand before its own"):
        read_checks({"tag": "position", "include": [{"class": "dog", "count": 1, "position": ["above", 0]}]})
    with pytest.raises(KeyError):
        read_checks({"tag": "counting", "include": [{"class": "dog"}]})


def test_objects_must_be_there_in_number():
    dogs = {"dog": [box(0, 0), box(50, 0)]}
    assert judge_image(dogs, [Requirement("dog", 2)], [], no_colours).correct
    verdict = judge_image(dogs, [Requirement("dog", 3), Requirement("cat", 1)], [], no_colours)
    assert not verdict.correct
    assert verdict.reasons == ("expected dog>=3, found 2", "expected cat>=1, found 0")


def test_too_many_objects_are_wrong_when_counting():
    three = {"clock": [box(0, 0), box(50, 0), box(0, 50)]}
    verdict = judge_image(three, [Requirement("clock", 2)], [Requirement("clock", 3)], no_colours)
    assert verdict.reasons == ("expected clock<3, found 3",)


def test_colours_of_the_surest_objects_only():
    cars = {"car": [box(0, 0), box(50, 0, confidence=0.5)]}
    require_red = [Requirement("car", 1, colour="red")]
    assert judge_image(cars, require_red, [], colours("red", "blue")).correct
    assert not judge_image(cars, require_red, [], colours("blue", "red")).correct


def test_position_relates_to_an_earlier_clause():
    include = [Requirement("kite", 1), Requirement("glass", 1, position=("above", 0))]
    assert judge_image({"kite": [box(50, 90)], "glass": [box(50, 10)]}, include, [], no_colours).correct
    below = judge_image({"kite": [box(50, 10)], "glass": [box(50, 90)]}, include, [], no_colours)
    assert below.reasons == ("expected glass above target",)
    alone = judge_image({"glass": [box(50, 10)]}, include, [], no_colours)
    assert alone.reasons == ("expected kite>=1, found 0", "no target for glass to be above")


def test_a_target_in_the_wrong_colour_is_no_target():
    include = [Requirement("kite", 1, colour="red"), Requirement("glass", 1, position=("above", 0))]
    verdict = judge_image({"kite": [box(50, 90)], "glass": [box(50, 10)]}, include, [], colours("blue"))
    assert verdict.reasons[1] == "no target for glass to be above"


@pytest.mark.skipif("COMAT_DATASETS" not in os.environ, reason="COMAT_DATASETS names no folder of prompts")
def test_the_authors_metadata_are_read():
    folder = Path(os.environ["COMAT_DATASETS"], "geneval")
    checks = [read_checks(json.loads(line)) for line in (folder / "evaluation_metadata.jsonl").read_text().splitlines()]
    assert Counter(one.task for one in checks) == {
        "position": 100,
        "color_attr": 100,
        "two_object": 99,
        "colors": 94,
        "single_object": 80,
        "counting": 80,
    }
    assert {bool(one.exclude) for one in checks if one.task == "counting"} == {True}
    names = (folder / "object_names.txt").read_text().splitlines()
    assert {name for one in checks for name in one.class_names} == set(names)
