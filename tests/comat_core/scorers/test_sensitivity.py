"""Corrupted prompts differ in exactly one respect, and equation 7 scores the difference."""

import pytest
import torch

from comat_core.language.corruptions import corruptions
from comat_core.scorers.sensitivity import sensitivity
from data.noun_filter import load_noun_filter
from tests.comat_core.parsed import parser


def corrupted(prompt: str, respect: str) -> str | None:
    return corruptions(parser()(prompt), load_noun_filter())[respect]


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        ("a red circle and a striped blue square", "a striped blue circle and a red square"),
        ("A red bench and an orange bowl.", "An orange bench and a red bowl."),
        ("a orange star and a red heart", "a red star and a orange heart"),
        ("the dog is brown and the cat is white", "the dog is white and the cat is brown"),
        ("a red traffic light and a blue car", "a blue traffic light and a red car"),
        ("a red circle", None),
        ("a red circle and a red square", None),
        ("a circle and a square", None),
    ],
)
def test_attributes_swapped(prompt: str, expected: str | None) -> None:
    assert corrupted(prompt, "attribute") == expected


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        ("a green star to the left of a white heart", "a white heart to the left of a green star"),
        ("a black cross above a dotted orange triangle", "a dotted orange triangle above a black cross"),
        ("The dog chases a cat.", "A cat chases the dog."),
        ("a man riding a brown horse", "a brown horse riding a man"),
        ("The cat is sitting on a red mat.", "A red mat is sitting on the cat."),
        ("a circle and a square", None),
        ("a red circle", None),
    ],
)
def test_subject_and_object_swapped(prompt: str, expected: str | None) -> None:
    assert corrupted(prompt, "relation") == expected


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        ("a red circle", "red circles"),
        ("a red circle and a blue box", "red circles and blue boxes"),
        ("two dogs", "one dog"),
        ("three hundred birds", "one bird"),
        ("half a dozen small eggs", "one small egg"),
        ("a few dogs and one cat", "one dog and two cats"),
        ("many dogs", "one dog"),
        ("a circle that is red", "circles that are red"),
        ("The woman holds three knives.", "The women hold one knife."),
        ("red apples on a table", "a red apple on tables"),
        ("those children are tall", "that child is tall"),
        ("the sheep", None),
    ],
)
def test_singular_and_plural_exchanged(prompt: str, expected: str | None) -> None:
    assert corrupted(prompt, "quantity") == expected


def test_sensitivity_is_equation_7() -> None:
    right, wrong = torch.tensor([-10.0, -4.0, -5.0]), torch.tensor([-12.0, -4.0, -2.5])
    assert torch.allclose(sensitivity(right, wrong), torch.tensor([0.2, 0.0, -0.5]))
