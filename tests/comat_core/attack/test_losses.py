"""The attack's losses against references written out, and its distributions against their definitions."""

import math

import pytest
import torch

from comat_core.attack.distributions import draw_words, gumbel_softmax
from comat_core.attack.losses import margin_loss, text_similarity
from comat_core.attack.success import is_success, names_class
from comat_core.support.randomness import make_generator


def slow_margin(logits: list[float], own: int, kappa: float) -> float:
    best = max(value for number, value in enumerate(logits) if number != own)
    return max(0.0, logits[own] - best + kappa)


@pytest.mark.parametrize("kappa", [0.0, 1.0, 30.0])
def test_the_margin_is_that_of_carlini_and_wagner(kappa: float) -> None:
    logits = 3 * torch.randn((50, 7), generator=make_generator(1, "logits"), dtype=torch.float64)
    classes = torch.randint(7, (50,), generator=make_generator(1, "classes"))
    expected = [slow_margin(row.tolist(), int(own), kappa) for row, own in zip(logits, classes, strict=True)]
    assert margin_loss(logits, classes, kappa).tolist() == pytest.approx(expected)
    assert any(value > 0 for value in expected)


def test_the_margins_gradient_is_that_of_finite_differences() -> None:
    classes = torch.tensor([2, 0, 1])
    logits = torch.randn((3, 5), generator=make_generator(2, "logits"), dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda values: margin_loss(values, classes, 3.0), (logits,))


def test_a_margin_that_is_wide_enough_pulls_no_more() -> None:
    logits = torch.tensor([[0.0, 5.0, 1.0]], requires_grad=True)
    loss = margin_loss(logits, torch.tensor([0]), 4.0)
    assert loss.tolist() == [0.0]
    assert not torch.autograd.grad(loss.sum(), logits)[0].any()


def test_similarity_compares_the_ends_of_both_texts() -> None:
    states = torch.zeros(2, 4, 2)
    states[0, 3], states[1, 1] = torch.tensor([3.0, 0.0]), torch.tensor([1.0, 1.0])
    original = torch.zeros(2, 4, 2)
    original[0, 2], original[1, 0] = torch.tensor([0.0, 2.0]), torch.tensor([5.0, 5.0])
    similar = text_similarity(states, torch.tensor([3, 1]), original, torch.tensor([2, 0]))
    assert similar.tolist() == pytest.approx([0.0, 1.0])


def test_mixtures_sum_to_one_and_follow_each_rows_own_generator() -> None:
    logits = torch.randn((2, 3, 6), generator=make_generator(1, "logits"))
    mixed = gumbel_softmax(logits, [make_generator(1, "row", row) for row in range(2)], 0.7)
    torch.testing.assert_close(mixed.sum(-1), torch.ones(2, 3))
    alone = gumbel_softmax(logits[1:], [make_generator(1, "row", 1)], 0.7)
    torch.testing.assert_close(mixed[1:], alone)
    # log w_i - log w_j = (l_i - l_j + g_i - g_j) / temperature: with equal logits and noise only temperature is left.
    sharp = gumbel_softmax(logits, [make_generator(1, "row", row) for row in range(2)], 0.35)
    torch.testing.assert_close(sharp.log().diff(dim=-1), 2 * mixed.log().diff(dim=-1), atol=1e-3, rtol=1e-3)


def test_the_likeliest_part_of_a_mixture_is_a_draw_of_the_softmax() -> None:
    logits = torch.tensor([[[0.0, math.log(3.0)]]]).expand(4000, 1, 2)
    mixed = gumbel_softmax(logits, [make_generator(1, "draw", row) for row in range(4000)], 1.0)
    assert float(mixed.argmax(-1).float().mean()) == pytest.approx(0.75, abs=0.03)


def test_words_are_drawn_by_their_probabilities() -> None:
    logits = torch.tensor([[0.0, math.log(3.0)], [50.0, 0.0]])
    drawn = [draw_words(logits, make_generator(1, "words", number)) for number in range(2000)]
    assert sum(first for first, _ in drawn) / 2000 == pytest.approx(0.75, abs=0.04)
    assert {second for _, second in drawn} == {0}


@pytest.mark.parametrize(
    ("text", "name", "named"),
    [
        ("a photo of a tench and a", "tench", True),
        ("A Great White Shark, swimming", "great white shark", True),
        ("a photo of a tenches", "tench", False),
        ("a great shark that is white", "great white shark", False),
        ("a T-shirt (red)", "t-shirt", True),
        ("", "tench", False),
    ],
)
def test_a_class_is_named_by_whole_words(text: str, name: str, named: bool) -> None:
    assert names_class(text, name) is named
    assert is_success(text, name, is_recognised=False) is named
    assert not is_success(text, name, is_recognised=True)
