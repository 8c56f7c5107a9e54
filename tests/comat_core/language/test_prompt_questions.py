"""A prompt taken apart into yes-no questions."""

import pytest

from comat_core.language.prompt_questions import prompt_questions
from data.noun_filter import load_noun_filter
from tests.comat_core.parsed import parser


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        (
            "a striped red circle above an orange square",
            [
                ("a circle?", "object", ()),
                ("a square?", "object", ()),
                ("a striped circle?", "attribute", (0,)),
                ("a red circle?", "attribute", (0,)),
                ("an orange square?", "attribute", (1,)),
                ("a circle above a square?", "relation", (0, 1)),
            ],
        ),
        (
            "three yellow ducks",
            [("ducks?", "object", ()), ("yellow ducks?", "attribute", (0,)), ("3 ducks?", "number", (0,))],
        ),
        ("a coffee cup", [("a cup?", "object", ())]),
        ("it", []),
    ],
)
def test_questions(prompt: str, expected: list[tuple[str, str, tuple[int, ...]]]) -> None:
    found = prompt_questions(parser()(prompt), load_noun_filter())
    assert [(question.text, question.kind, question.parents) for question in found] == expected


def test_a_parent_stands_before_its_children() -> None:
    for prompt in ("two small dogs in front of a wooden house", "a red bird and a blue cube on a table"):
        questions = prompt_questions(parser()(prompt), load_noun_filter())
        assert all(parent < place for place, question in enumerate(questions) for parent in question.parents)
        assert {question.kind for question in questions} >= {"object", "attribute"}
