"""Activations counted without computing them."""

from collections.abc import Callable

import pytest
import torch
from torch import nn

from benchmarks.peak_memory import peak_bytes
from comat_core.backbones.adapters import active_adapter, add_lora
from comat_core.backbones.protocol import Backbone
from comat_core.support.memory.activation_memory import kept_activations
from tests.tiny_models import IMAGE_SIDE, LATENT_CHANNELS, LATENT_SIDE

ModelOf = Callable[[str], Backbone]


def test_a_chain_keeps_each_input_once() -> None:
    def chain() -> torch.Tensor:
        value = torch.zeros(1000, requires_grad=True)
        for _ in range(5):
            value = value.sin()
        return value + value.view(10, 100).flatten()  # neither an addition nor a view keeps anything

    assert kept_activations(chain) == 5 * 4000


def test_real_weights_do_not_count_and_nothing_is_computed() -> None:
    layer = nn.Linear(50, 50).requires_grad_(False)
    before = layer.weight.clone()
    assert (
        kept_activations(lambda: layer(torch.zeros(7, 50, requires_grad=True))) == 0
    )  # an input's gradient needs none
    assert kept_activations(lambda: layer(torch.zeros(7, 50, requires_grad=True)).square()) == 7 * 50 * 4
    assert torch.equal(layer.weight, before)


@pytest.mark.parametrize("kind", ["sd", "sdxl"])
def test_the_count_of_a_unet_is_close_to_what_it_really_keeps(tiny_model: ModelOf, kind: str) -> None:
    model = tiny_model(kind)
    add_lora(model, "online", rank=2, seed=1)
    conditioning = model.encode_prompts(["a red circle"] * 8, IMAGE_SIDE)
    results = []

    def predict() -> None:
        latents = torch.zeros(8, LATENT_CHANNELS, LATENT_SIDE, LATENT_SIDE)
        results.append(model.predict(latents, torch.zeros(8, dtype=torch.long), conditioning))

    with active_adapter(model.denoiser, "online"):
        predict()
        estimated = kept_activations(predict)
        measured = peak_bytes(predict)
    assert estimated == pytest.approx(measured, rel=0.2)
