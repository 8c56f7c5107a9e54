"""Mixtures of tokens: one token alone is read as the stock pipeline reads it, and the graph reaches the weights."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from comat_core.backbones.protocol import Backbone
from comat_core.backbones.text.token_mixtures import TokenMixtures
from tests.tiny_models import IMAGE_SIDE

ModelOf = Callable[[str], Backbone]
HELD, MEANT = ["a red circle a a", "a star a a"], ["a red circle blue square", "a star square green"]


def places_and_tokens(model: Backbone) -> tuple[Tensor, Tensor]:
    """The last two words of each prompt: where they stand, and the tokens that are meant."""
    rows = model.pipeline.tokenizer(MEANT).input_ids
    places = torch.tensor([[len(row) - 3, len(row) - 2] for row in rows])
    return places, torch.tensor([[row[-3], row[-2]] for row in rows])


@pytest.mark.parametrize("kind", ["sd", "sd2", "sdxl"])
def test_one_token_of_weight_one_gives_exactly_the_prompts_own_conditioning(tiny_model: ModelOf, kind: str) -> None:
    model = tiny_model(kind)
    places, meant = places_and_tokens(model)
    tokens = meant.unique()
    weights = (meant[..., None] == tokens).float()
    mixed = model.encode_mixtures(HELD, IMAGE_SIDE, TokenMixtures(places, tokens, weights))
    expected, held = model.encode_prompts(MEANT, IMAGE_SIDE), model.encode_prompts(HELD, IMAGE_SIDE)
    for name, tensor in expected.tensors.items():
        assert torch.equal(mixed[name], tensor), name
    assert not torch.equal(expected["prompt_embeds"], held["prompt_embeds"])
    # Nothing of it stays behind.
    assert torch.equal(model.encode_prompts(HELD, IMAGE_SIDE)["prompt_embeds"], held["prompt_embeds"])
    assert not any(encoder.get_input_embeddings()._forward_hooks for encoder in model.text_encoders.values())  # pyright: ignore


def test_a_mixture_is_the_sum_of_its_embeddings_and_other_tokens_stay_as_they_are(tiny_model: ModelOf) -> None:
    model = tiny_model("sd")
    encoder = model.pipeline.text_encoder
    places, meant = places_and_tokens(model)
    tokens = meant.unique()
    weights = torch.rand((2, 2, len(tokens)), generator=torch.Generator().manual_seed(1)).softmax(-1).requires_grad_()
    seen: list[Tensor] = []
    encoder.embeddings.register_forward_hook(lambda _module, _arguments, output: seen.append(output))
    table = encoder.embeddings.token_embedding.weight
    model.encode_mixtures(HELD, IMAGE_SIDE, TokenMixtures(places, tokens, weights))
    model.encode_prompts(HELD, IMAGE_SIDE)
    mixed, plain = seen
    for row in range(2):
        for column in range(mixed.shape[1]):
            if column in places[row].tolist():
                parts = weights[row, places[row].tolist().index(column)]
                embedded = sum(part * table[token] for part, token in zip(parts, tokens, strict=True))
                expected = embedded + encoder.embeddings.position_embedding.weight[column]
                torch.testing.assert_close(mixed[row, column], expected)
            else:
                assert torch.equal(mixed[row, column], plain[row, column])


def test_the_gradient_reaches_the_weights_and_no_earlier_token(tiny_model: ModelOf) -> None:
    model = tiny_model("sd")
    places, meant = places_and_tokens(model)
    tokens = meant.unique()
    weights = torch.full((2, 2, len(tokens)), 1 / len(tokens), requires_grad=True)
    states = model.encode_mixtures(HELD, IMAGE_SIDE, TokenMixtures(places, tokens, weights))["prompt_embeds"]
    (gradient,) = torch.autograd.grad(states[:, -1].square().sum(), weights, retain_graph=True)
    assert (gradient.abs() > 0).all()
    # The encoder looks back only: what stands before the first place does not depend on it.
    (none,) = torch.autograd.grad(states[0, : places[0, 0]].square().sum(), weights)
    assert not none.any()
