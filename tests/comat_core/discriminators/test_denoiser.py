from collections.abc import Callable

import pytest
import torch
from diffusers.schedulers.scheduling_ddpm import DDPMScheduler
from torch import Tensor

from comat_core.backbones.adapters import active_adapter, add_lora, lora_parameters
from comat_core.backbones.protocol import Backbone
from comat_core.discriminators import (
    DenoiserDiscriminator,
    load_trainable_state,
    memory_of_roles,
    trainable_state,
)
from comat_core.discriminators.denoiser import ADAPTER_NAME
from comat_core.sampling.schedulers import BetaScheduler
from comat_core.support.errors import UserError
from comat_core.support.randomness import make_generator
from tests.tiny_models import IMAGE_SIDE

ModelOf = Callable[[str], Backbone]


@pytest.fixture
def online(tiny_model: ModelOf) -> Backbone:
    return tiny_model("sd")


def make_discriminator(model: Backbone, *, seed: int = 0, checkpoint_denoiser: bool = False) -> DenoiserDiscriminator:
    return DenoiserDiscriminator(
        model, rank=2, resolution=IMAGE_SIDE, timestep=1, seed=seed, checkpoint_denoiser=checkpoint_denoiser
    )


def latents_of(model: Backbone, rows: int = 2, seed: int = 0) -> Tensor:
    side = model.latent_size(IMAGE_SIDE)
    return torch.randn(rows, model.latent_channels, side, side, generator=make_generator(seed, "latents"))


def stir(parameters: list[torch.nn.Parameter], seed: int = 0) -> None:
    """As if trained: no adapter is zero any more."""
    generator = make_generator(seed, "stir")
    with torch.no_grad():
        for parameter in parameters:
            parameter.copy_(0.3 * torch.randn(parameter.shape, generator=generator))


def grads(parameters: list[torch.nn.Parameter]) -> list[Tensor | None]:
    return [parameter.grad for parameter in parameters]


@pytest.mark.parametrize("kind", ["sd", "sdxl"])
def test_untrained_score_is_the_head_on_each_pixel_of_the_base_models_prediction(
    tiny_model: ModelOf, kind: str
) -> None:
    model = tiny_model(kind)
    latents = latents_of(model)
    discriminator = make_discriminator(model)
    logits = discriminator.score(latents)
    plain = tiny_model(kind)
    empty = plain.encode_prompts(["", ""], IMAGE_SIDE)
    prediction = plain.predict(latents, torch.tensor([1, 1]), empty)
    weight, bias = discriminator.head.weight[0], discriminator.head.bias[0]
    for row in range(2):
        for u in range(latents.shape[2]):
            for v in range(latents.shape[3]):
                expected = sum(weight[c] * prediction[row, c, u, v] for c in range(len(weight))) + bias
                assert logits[row, u, v].item() == pytest.approx(expected.item(), abs=1e-5)


def test_it_asks_at_the_samplers_last_and_cleanest_timestep() -> None:
    assert BetaScheduler(DDPMScheduler(steps_offset=1)).last_timestep(50) == 1
    assert BetaScheduler(DDPMScheduler(timestep_spacing="trailing")).last_timestep(50) == 19


def test_one_unet_serves_both_without_either_seeing_the_others_adapter(online: Backbone) -> None:
    add_lora(online, "online", rank=2, seed=0)
    with active_adapter(online.denoiser, "online"):
        discriminator = make_discriminator(online)
        conditioning, latents = online.encode_prompts(["a red circle", "a star"], IMAGE_SIDE), latents_of(online)

        def predict() -> Tensor:
            return online.predict(latents, torch.tensor([500, 500]), conditioning)

        stir(lora_parameters(online.denoiser, "online"))
        prediction, logits = predict(), discriminator.score(latents)
        stir(lora_parameters(online.denoiser, ADAPTER_NAME), seed=1)
        assert torch.equal(predict(), prediction)
        judged = discriminator.score(latents)
        assert not torch.allclose(judged, logits)
        stir(lora_parameters(online.denoiser, "online"), seed=2)
        assert torch.equal(discriminator.score(latents), judged)
        assert not torch.allclose(predict(), prediction)


@pytest.mark.parametrize("checkpoint_denoiser", [False, True])
def test_on_the_generators_side_the_gradient_reaches_the_latents_alone(
    online: Backbone, checkpoint_denoiser: bool
) -> None:
    add_lora(online, "online", rank=2, seed=0)
    discriminator = make_discriminator(online, checkpoint_denoiser=checkpoint_denoiser)
    trainable = list(discriminator.named_trainable_parameters().values())
    stir(trainable)
    latents = latents_of(online).requires_grad_()
    discriminator.score(latents, frozen=True).sum().backward()
    assert latents.grad is not None and latents.grad.abs().sum() > 0
    assert grads(trainable) == [None] * len(trainable)
    assert grads(list(online.denoiser.parameters())) == [None] * len(list(online.denoiser.parameters()))
    assert all(parameter.requires_grad for parameter in trainable)


@pytest.mark.parametrize("checkpoint_denoiser", [False, True])
def test_on_its_own_side_every_parameter_of_its_own_gets_a_gradient_and_no_other(
    online: Backbone, checkpoint_denoiser: bool
) -> None:
    theirs = add_lora(online, "online", rank=2, seed=0)
    discriminator = make_discriminator(online, checkpoint_denoiser=checkpoint_denoiser)
    trainable = discriminator.named_trainable_parameters()
    stir(list(trainable.values()))
    discriminator.score(latents_of(online)).square().sum().backward()
    assert all(value.grad is not None and value.grad.abs().sum() > 0 for value in trainable.values())
    own = {id(value) for value in trainable.values()}
    assert all(value.grad is None for value in online.denoiser.parameters() if id(value) not in own)
    assert grads(theirs) == [None] * len(theirs)


def test_recomputing_gives_the_same_gradient_though_another_adapter_is_active_by_then(
    tiny_model: ModelOf,
) -> None:
    gradients = {}
    for checkpoint_denoiser in (False, True):
        model = tiny_model("sd")
        stir(add_lora(model, "online", rank=2, seed=0))
        discriminator = make_discriminator(model, checkpoint_denoiser=checkpoint_denoiser)
        stir(list(discriminator.named_trainable_parameters().values()), seed=1)
        latents = latents_of(model).requires_grad_()
        loss = discriminator.score(latents, frozen=True).square().sum()
        with active_adapter(model.denoiser, "online"):
            loss.backward()
        gradients[checkpoint_denoiser] = latents.grad
    assert torch.allclose(gradients[True], gradients[False], rtol=1e-5, atol=1e-6)


def test_sharing_saves_the_bytes_of_two_unets(tiny_model: ModelOf, online: Backbone) -> None:
    bare = sum(p.numel() * p.element_size() for p in online.denoiser.parameters())
    adapters = [add_lora(online, "online", rank=2, seed=0)]
    shared = make_discriminator(online)
    adapters.append(list(shared.named_trainable_parameters().values()))
    added = sum(p.numel() * p.element_size() for parameters in adapters for p in parameters)
    memory = memory_of_roles(online, shared)
    assert (memory.resident, memory.separate, memory.saved) == (bare + added, 3 * bare + added, 2 * bare)

    apart = memory_of_roles(online, make_discriminator(tiny_model("sd")))
    assert apart.saved == bare


def test_a_separate_unet_leaves_the_online_one_alone(tiny_model: ModelOf) -> None:
    online, other = tiny_model("sdxl"), tiny_model("sd")
    discriminator = make_discriminator(other)
    assert discriminator.score(latents_of(online)).shape == (2, *latents_of(online).shape[2:])
    assert not hasattr(online.denoiser, "peft_config")


def test_start_depends_on_the_seed_alone(tiny_model: ModelOf) -> None:
    states = []
    for seed in (0, 0, 1):
        torch.rand(3)  # the global generator has no say
        states.append(trainable_state(make_discriminator(tiny_model("sd"), seed=seed)))
    assert all(torch.equal(value, states[1][name]) for name, value in states[0].items())
    assert not all(torch.equal(value, states[2][name]) for name, value in states[0].items())


def test_state_is_restored_and_a_foreign_one_refused(tiny_model: ModelOf) -> None:
    first = make_discriminator(tiny_model("sd"))
    stir(list(first.named_trainable_parameters().values()))
    second = make_discriminator(tiny_model("sd"), seed=1)
    latents = latents_of(first.model)
    assert not torch.allclose(first.score(latents), second.score(latents))
    state = trainable_state(first)
    load_trainable_state(second, state)
    assert torch.equal(first.score(latents), second.score(latents))
    with pytest.raises(KeyError, match=r"head\.bias"):
        load_trainable_state(second, {name: value for name, value in state.items() if name != "head.bias"})


def test_a_second_discriminator_on_one_unet_is_refused(online: Backbone) -> None:
    make_discriminator(online)
    with pytest.raises(UserError, match="discriminator"):
        make_discriminator(online)
