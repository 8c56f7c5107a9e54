"""Walks of a tiny model in float64 with an adapter that is not zero any more."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from comat_core.backbones.adapters import active_adapter, add_lora
from comat_core.backbones.protocol import Backbone
from comat_core.support.randomness import make_generator, normal_noise
from tests.comat_core.stock_sampling import PROMPTS, STEPS, row_generators
from tests.tiny_models import IMAGE_SIDE

GUIDANCE = 3.0


def trained_model(model: Backbone) -> list[nn.Parameter]:
    """Add the adapter "online", and raise the denoiser to float64."""
    parameters = add_lora(model, "online", rank=2, seed=1)
    for index, parameter in enumerate(parameters):
        parameter.data = 0.3 * torch.randn(parameter.shape, generator=make_generator(1, "trained", index))
    model.denoiser.double()
    return parameters


def score(latents: Tensor) -> Tensor:
    weights = torch.linspace(-1, 1, latents.numel(), dtype=latents.dtype).view_as(latents)
    return (weights * latents).sum() + latents.square().mean()


def walk(make: Callable[..., Any], model: Backbone, scheduler: str, **options: Any) -> Any:
    side = model.latent_size(IMAGE_SIDE)
    generators = row_generators(len(PROMPTS))
    noise = normal_noise((model.latent_channels, side, side), generators, dtype=torch.float64)
    with active_adapter(model.denoiser, "online"):
        return make(
            model,
            noise,
            model.encode_prompts(PROMPTS, IMAGE_SIDE),
            model.encode_unconditional(len(PROMPTS), IMAGE_SIDE),
            scheduler=model.make_scheduler(scheduler, IMAGE_SIDE),
            num_inference_steps=STEPS,
            guidance_scale=GUIDANCE,
            generators=generators,
            **options,
        )


def distance(found: Sequence[Tensor], expected: Sequence[Tensor | None]) -> float:
    """Of two gradients, over the length of the second."""
    present = [torch.zeros_like(one) if other is None else other for one, other in zip(found, expected, strict=True)]
    apart = sum(float((one - other).square().sum()) for one, other in zip(found, present, strict=True))
    length = sum(float(other.square().sum()) for other in present)
    assert length > 0
    return (apart / length) ** 0.5
