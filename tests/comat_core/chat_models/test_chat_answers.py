"""Chat models asked for yes or no, against a computation by hand through the stock model."""

from collections.abc import Callable
from typing import Any

import pytest
import torch

from comat_core.chat_models.chat_model import ChatModel
from comat_core.scorers.chat_answers import ChatAnswerer
from comat_core.support.errors import UserError
from comat_core.support.memory.activation_memory import kept_activations
from tests.comat_core.chat_models.conftest import KINDS
from tests.comat_core.chat_models.test_chat_captioners import OWN_SIZE
from tests.pictures import as_bytes, natural_pictures

QUESTIONS = ["Is it red?", 'Does this figure show "two striped dogs"? Please answer yes or no.', "Is it?"]


@pytest.fixture
def answerer(chat: ChatModel) -> ChatAnswerer:
    return ChatAnswerer(chat)


@torch.no_grad()
def test_the_log_odds_are_those_of_the_next_token(
    kind: str, answerer: ChatAnswerer, own_inputs: Callable[..., Any]
) -> None:
    images = natural_pictures(len(QUESTIONS), *OWN_SIZE[kind])
    tokenizer = answerer.chat.tokenizer
    result = answerer.log_odds_of_yes(images, QUESTIONS)
    for value, image, question in zip(result, images, QUESTIONS, strict=True):
        text = answerer.chat.given(question).replace("<fake_token_around_image>", "").replace("<global-img>", "")
        logits = answerer.model(**own_inputs(as_bytes(image[None]), [text])).logits[0, -1].double().softmax(0)
        yes, no = (
            sum(logits[tokenizer.convert_tokens_to_ids(token)] for token in tokens)
            for tokens in (("Yes", "yes", "ĠYes"), ("No", "no", "ĠNo"))
        )
        tolerance = 2e-2 if kind == "smolvlm" else 1e-3  # the processor rounds to bytes between its two resizings
        assert value.item() == pytest.approx(torch.log(torch.as_tensor(yes / no)).item(), abs=tolerance)
    assert result.unique().numel() == len(QUESTIONS)


@torch.no_grad()
def test_a_question_is_answered_alike_alone_and_among_others(answerer: ChatAnswerer) -> None:
    images = natural_pictures(2, 40, 56)
    looks = []
    answerer.chat.see = lambda shown, see=answerer.chat.see: looks.append(len(shown)) or see(shown)  # type: ignore[method-assign]
    about = [1, 0, 1]
    together = answerer.log_odds_of_yes(images, QUESTIONS, about)
    assert looks == [2], "an image is looked at once"
    for value, question, image in zip(together, QUESTIONS, about, strict=True):
        alone = answerer.log_odds_of_yes(images[image : image + 1], [question])
        torch.testing.assert_close(alone[0], value, rtol=1e-4, atol=1e-5)
    assert answerer.log_odds_of_yes(images, [], []).shape == (0,)


def test_the_gradient_of_the_pixels_is_the_finite_difference(kind: str, chat_folders: dict[str, str]) -> None:
    answerer = ChatAnswerer(KINDS[kind].load(chat_folders[kind], dtype=torch.float64))
    images = natural_pictures(len(QUESTIONS), 40, 56).double().requires_grad_()
    (gradient,) = torch.autograd.grad(answerer.log_odds_of_yes(images, QUESTIONS).sum(), images)
    assert all(gradient[row].any() for row in range(len(QUESTIONS)))
    direction, step = gradient / gradient.norm(), 1e-3
    with torch.no_grad():
        ahead, behind = (
            answerer.log_odds_of_yes(images + sign * step * direction, QUESTIONS).sum() for sign in (1, -1)
        )
    assert gradient.norm().item() == pytest.approx(((ahead - behind) / (2 * step)).item(), rel=2e-3)


def test_it_is_planned_on_tensors_without_data(answerer: ChatAnswerer) -> None:
    def ask() -> object:
        return answerer.log_odds_of_yes(torch.zeros(3, 3, 48, 48, requires_grad=True), QUESTIONS)

    assert kept_activations(ask) > 0


def test_a_question_too_long_or_of_the_chat_s_tokens_is_refused(answerer: ChatAnswerer) -> None:
    with pytest.raises(UserError, match=r"a question has \d+ tokens"):
        answerer.encode_questions(["dog " * 500])
    with pytest.raises(UserError, match="a text contains"):
        answerer.encode_questions([f"dog{answerer.chat.ending}"])


def test_a_tokenizer_without_yes_is_refused(answerer: ChatAnswerer) -> None:
    with pytest.raises(UserError, match="no single token for 'Ouais'"):
        answerer._tokens(["Ouais", "ouais"])
