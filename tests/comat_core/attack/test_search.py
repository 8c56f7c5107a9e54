"""The search against finite differences through text encoder, sampler and classifier, and what it may not touch."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from comat_core.attack.search import AttackedPrompt, WordSearch
from comat_core.attack.settings import SearchSettings
from comat_core.backbones.protocol import Backbone
from comat_core.settings import Sampler
from comat_core.support.errors import UserError
from comat_core.support.randomness import make_generator
from tests.tiny_models import IMAGE_SIDE, clip_tokenizer

ModelOf = Callable[[str], Backbone]
PROMPTS = [AttackedPrompt("short/circle", "a red circle and a", 0), AttackedPrompt("long/star", "a green star", 2)]
STEPS = 3


class LinearClassifier:
    """Logits linear in the pixels, in their own precision."""

    classes = ("circle", "square", "star")
    networks: Mapping[str, nn.Module] = {}

    def __init__(self, scale: float = 1.0) -> None:
        shape = (3 * IMAGE_SIDE**2, len(self.classes))
        self._weights = scale * torch.randn(shape, generator=make_generator(1, "classifier"), dtype=torch.float64)

    def logits(self, images: Tensor) -> Tensor:
        return images.flatten(1) @ self._weights.to(images)


@pytest.fixture
def attacked(tiny_model: ModelOf) -> ModelOf:
    """Tiny models with their tokenizer: copies of tokenizers have lost how they decode."""

    def fresh(kind: str) -> Backbone:
        model, tokenizer = tiny_model(kind), clip_tokenizer()
        model.pipeline.tokenizer = tokenizer
        if kind == "sdxl":
            model.pipeline.tokenizer_2 = tokenizer
        return model

    return fresh


def search_of(model: Backbone, classifier: Any = None, **settings: Any) -> WordSearch:
    return WordSearch(
        model,
        classifier or LinearClassifier(),
        Sampler(scheduler="ddim", num_inference_steps=STEPS, guidance_scale=3.0),
        SearchSettings.model_validate({"added_tokens": 2, "iterations": 3, "gradient_steps": 2, **settings}),
        resolution=IMAGE_SIDE,
        seed=5,
    )


def random_logits(search: WordSearch, rows: int = 2, dtype: torch.dtype = torch.float32) -> Tensor:
    shape = (rows, 2, len(search.words.tokens))
    return torch.randn(shape, generator=make_generator(1, "logits"), dtype=dtype)


@pytest.fixture
def exact(attacked: ModelOf) -> Backbone:
    """A tiny model whose every network computes in float64."""
    model = attacked("sd")
    for network in model.networks.values():
        network.double()
    return model


def test_the_gradient_to_the_logits_is_that_of_finite_differences(exact: Backbone) -> None:
    search = search_of(exact, gradient_steps=STEPS, detach_denoiser_input=False, kappa=1000.0)
    logits = random_logits(search, dtype=torch.float64).requires_grad_()
    (gradient,) = torch.autograd.grad(search.loss(logits, PROMPTS, 0).sum(), logits)
    direction = torch.randn(logits.shape, generator=make_generator(2, "direction"), dtype=torch.float64)
    size = 1e-5
    with torch.no_grad():
        losses = [float(search.loss(logits + sign * size * direction, PROMPTS, 0).sum()) for sign in (1, -1)]
    expected = (losses[0] - losses[1]) / (2 * size)
    assert abs(expected) > 1e-3
    assert float((gradient * direction).sum()) == pytest.approx(expected, rel=1e-3)


def test_recomputing_gives_the_same_gradient(attacked: ModelOf) -> None:
    gradients = []
    for recomputed in (False, True):
        search = search_of(attacked("sd"), checkpoint_denoiser=recomputed)
        logits = random_logits(search).requires_grad_()
        gradients += torch.autograd.grad(search.loss(logits, PROMPTS, 1).sum(), logits)
    torch.testing.assert_close(gradients[0], gradients[1], rtol=1e-4, atol=1e-4 * float(gradients[0].abs().max()))


def test_the_loss_is_margin_plus_weighted_distance(attacked: ModelOf) -> None:
    model = attacked("sd")
    alone = search_of(model, similarity_weight=0.0)
    logits = random_logits(alone)
    with torch.no_grad():
        margin, once, twice = (
            search_of(model, similarity_weight=weight).loss(logits, PROMPTS, 0) for weight in (0.0, 1.0, 2.0)
        )
    assert ((once - margin) > 0).all()
    torch.testing.assert_close(twice - margin, 2 * (once - margin), rtol=1e-3, atol=1e-3)


def test_what_one_prompt_gets_does_not_depend_on_the_others(attacked: ModelOf) -> None:
    search = search_of(attacked("sd"))
    together, alone = search.find(PROMPTS), search.find(PROMPTS[1:])
    torch.testing.assert_close(together.losses[:, 1:], alone.losses, rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(together.logits[1:], alone.logits, rtol=1e-2, atol=1e-2)
    again = search.find(PROMPTS)
    assert torch.equal(together.logits, again.logits)


def test_every_iteration_draws_other_words_noise_and_steps(attacked: ModelOf) -> None:
    search = search_of(attacked("sd"))
    logits = random_logits(search)
    with torch.no_grad():
        first, same, second = (search.loss(logits, PROMPTS, iteration) for iteration in (0, 0, 1))
    assert torch.equal(first, same)
    assert not torch.isclose(first, second).any()


@pytest.mark.slow
def test_the_search_lowers_the_loss_of_words_and_noise_that_it_has_not_seen(attacked: ModelOf) -> None:
    search = search_of(attacked("sd"), iterations=15, learning_rate=1.0, kappa=1000.0, gradient_steps=STEPS)
    found = search.find(PROMPTS[:1])
    with torch.no_grad():
        before, after = (
            sum(float(search.loss(logits, PROMPTS[:1], 1000 + draw)) for draw in range(10)) / 10
            for logits in (torch.zeros_like(found.logits), found.logits)
        )
    assert after < before
    assert found.skipped == [0]


def test_a_model_with_two_text_encoders_is_searched_too(attacked: ModelOf) -> None:
    found = search_of(attacked("sdxl"), iterations=1).find(PROMPTS)
    assert found.logits.abs().amax(dim=(1, 2)).min() > 0.2, "Adam has moved every prompt's words"


def test_the_models_weights_stay_as_they_are(attacked: ModelOf) -> None:
    model = attacked("sd")
    before = {name: value.clone() for name, value in model.pipeline.text_encoder.state_dict().items()}
    search_of(model).find(PROMPTS)
    assert all(torch.equal(value, before[name]) for name, value in model.pipeline.text_encoder.state_dict().items())


class _BrokenAt(LinearClassifier):
    """Gives no finite logits of one row in some of its calls."""

    def __init__(self, calls: Sequence[int]) -> None:
        super().__init__()
        self._calls, self._count = calls, -1

    def logits(self, images: Tensor) -> Tensor:
        self._count += 1
        found = super().logits(images)
        if self._count not in self._calls:
            return found
        broken = torch.ones_like(found)
        broken[0] = torch.nan
        return found * broken


def test_an_iteration_without_a_finite_loss_is_left_out_of_that_prompt_alone(
    attacked: ModelOf, caplog: pytest.LogCaptureFixture
) -> None:
    found = search_of(attacked("sd"), _BrokenAt([1])).find(PROMPTS)
    whole = search_of(attacked("sd")).find(PROMPTS)
    assert found.skipped == [1, 0]
    assert found.logits.isfinite().all()
    assert found.losses[1, 0].isnan() and found.losses[0].isfinite().all()
    torch.testing.assert_close(found.logits[1], whole.logits[1])
    assert "short/circle: 1 iterations without a finite loss" in caplog.text


def test_a_prompt_without_any_finite_loss_is_an_error(attacked: ModelOf) -> None:
    with pytest.raises(UserError, match=r"no finite number in any iteration.*a red circle and a"):
        search_of(attacked("sd"), _BrokenAt(range(3))).find(PROMPTS)
