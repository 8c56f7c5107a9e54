"""Texts that are nearly the prompt, and wrong."""

import pytest

from comat_core.language.counterfactuals import counterfactuals
from data.noun_filter import load_noun_filter
from tests.comat_core.parsed import parser


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        (
            "a red circle above a blue square",
            [
                "a blue circle above a red square",
                "a blue square above a red circle",
                "red circles above blue squares",
                "a red circle below a blue square",
            ],
        ),
        ("a green star", ["green stars"]),
        (
            "a cup to the left of a plate",
            ["a plate to the left of a cup", "cups to the left of plates", "a cup to the right of a plate"],
        ),
        ("A dog Behind a tree", ["A tree Behind a dog", "Dogs Behind trees", "A dog in front of a tree"]),
        ("it", []),
    ],
)
def test_each_differs_in_one_respect(prompt: str, expected: list[str]) -> None:
    assert counterfactuals(parser()(prompt), load_noun_filter()) == expected


def test_a_word_for_a_place_is_no_part_of_another_word() -> None:
    found = counterfactuals(parser()("a covering over a hovering drone"), load_noun_filter())
    assert found[-1] == "a covering under a hovering drone"
