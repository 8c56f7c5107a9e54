"""Guidance in an interval of timesteps: which steps have an unconditional half, and what the others predict."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from comat_core.backbones.attention_maps import CaptureRequest
from comat_core.backbones.loading import load_backbone
from comat_core.backbones.protocol import Backbone
from comat_core.sampling.denoising import denoise
from comat_core.sampling.schedulers import make_scheduler
from comat_core.support.errors import UserError
from comat_core.support.randomness import make_generator, normal_noise
from tests.comat_core.stock_sampling import PROMPTS, STEPS, sample
from tests.tiny_families import TINY_FAMILIES
from tests.tiny_models import IMAGE_SIDE

ModelOf = Callable[[str], Backbone]
EVERYTHING = (0.0, 1000.0)


def middle_of(timesteps: Sequence[float]) -> tuple[float, float]:
    """An interval that begins and ends at timesteps, and leaves one out at either end."""
    return timesteps[-2], timesteps[1]


def rows_of_calls(model: Backbone) -> list[int]:
    """A list that grows by the batch of each further call of the denoiser."""
    rows: list[int] = []

    def count(_module: object, arguments: tuple[Tensor, ...], named: dict[str, Tensor]) -> None:
        rows.append(len(arguments[0] if arguments else named["hidden_states"]))

    model.denoiser.register_forward_pre_hook(count, with_kwargs=True)
    return rows


@pytest.mark.parametrize("family", ["sd", "sdxl", "sd3", "pixart alpha", "sana"])
def test_an_interval_saves_the_unconditional_half_outside_and_everything_saves_nothing(
    family: str, tmp_path: Path
) -> None:
    tiny = TINY_FAMILIES[family]
    model = load_backbone(tiny.save(tmp_path))
    scheduler = model.make_scheduler(tiny.scheduler, IMAGE_SIDE)
    timesteps = [float(timestep) for timestep in scheduler.timesteps(STEPS)]
    side, rows = model.latent_size(IMAGE_SIDE), rows_of_calls(model)

    def walk(scale: float, interval: tuple[float, float] | None) -> tuple[list[Tensor], list[int]]:
        """What each step ends with, and the rows of each call."""
        states: list[Tensor] = []

        def keep(step: int, timestep: int, latents: Tensor) -> None:
            del step, timestep
            states.append(latents)

        rows.clear()
        denoise(
            model,
            normal_noise((model.latent_channels, side, side), [make_generator(0, "start")]),
            model.encode_prompts(PROMPTS[:1], IMAGE_SIDE),
            model.encode_unconditional(1, IMAGE_SIDE),
            scheduler=scheduler,
            num_inference_steps=STEPS,
            guidance_scale=scale,
            guidance_interval=interval,
            generators=[make_generator(0, "walk")],
            callback=keep,
        )
        return states, list(rows)

    plain, whole = walk(5.0, None), walk(5.0, EVERYTHING)
    assert plain[1] == whole[1] == [2] * STEPS
    assert torch.equal(plain[0][-1], whole[0][-1])

    limited, unguided = walk(5.0, middle_of(timesteps)), walk(1.0, None)
    assert limited[1] == [1] + [2] * (STEPS - 2) + [1]
    torch.testing.assert_close(limited[0][0], unguided[0][0])
    assert (limited[0][1] - unguided[0][1]).abs().max() > 1e-5
    assert (limited[0][-1] - plain[0][-1]).abs().max() > 1e-5


@pytest.mark.parametrize(
    ("family", "why"),
    [
        ("flux dev", "this FluxPipeline is told its guidance scale: it has no unconditional half to leave out"),
        ("flux2 klein distilled", "this Flux2KleinPipeline is not guided: it has no unconditional half to leave out"),
    ],
)
def test_a_model_without_an_unconditional_half_says_so_in_one_line(family: str, why: str, tmp_path: Path) -> None:
    tiny = TINY_FAMILIES[family]
    model = load_backbone(tiny.save(tmp_path))
    noise = torch.zeros(1, model.latent_channels, *[model.latent_size(IMAGE_SIDE)] * 2)
    with pytest.raises(UserError, match=why) as caught:
        denoise(
            model,
            noise,
            model.encode_prompts(PROMPTS[:1], IMAGE_SIDE),
            None,
            scheduler=model.make_scheduler(tiny.scheduler, IMAGE_SIDE),
            num_inference_steps=2,
            guidance_scale=3.0,
            guidance_interval=EVERYTHING,
            generators=[make_generator(0, "walk")],
        )
    assert "\n" not in str(caught.value)


def test_attention_is_the_prompts_with_and_without_the_other_half(tiny_model: ModelOf) -> None:
    model = tiny_model("sd")
    scheduler = make_scheduler(model.scheduler, "ddim")
    first = float(scheduler.timesteps(STEPS)[0])
    capture = CaptureRequest(steps=(0,), rows=[1])
    (guided,) = sample(model, scheduler, capture=capture).attention_maps
    (alone,) = sample(model, scheduler, capture=capture, guidance_interval=(0.0, first - 1)).attention_maps
    for name, maps in alone.items():
        torch.testing.assert_close(maps, guided[name], atol=1e-5, rtol=1e-4)


def test_rows_that_join_later_are_guided_by_the_same_timesteps(tiny_model: ModelOf) -> None:
    model = tiny_model("sd")
    scheduler = make_scheduler(model.scheduler, "ddim")
    rows = rows_of_calls(model)
    interval = middle_of(scheduler.timesteps(STEPS).tolist())
    sample(model, scheduler, start_steps=[0, 2], guidance_interval=interval)
    assert rows == [1, 2, 4, 4, 2]


def test_the_gradient_of_a_step_outside_is_the_conditional_halfs(tiny_model: ModelOf) -> None:
    model = tiny_model("sd")
    scheduler = make_scheduler(model.scheduler, "ddim")
    weight = next(iter(model.denoiser.parameters())).requires_grad_()
    last = float(scheduler.timesteps(STEPS)[-1])

    def gradient(recomputed: bool, **options: Any) -> Tensor:
        result = sample(model, scheduler, gradient_steps=(STEPS - 1,), checkpoint_denoiser=recomputed, **options)
        (found,) = torch.autograd.grad(result.latents.square().sum(), weight)
        return found

    outside = gradient(False, guidance_interval=(last + 1, 1000.0))
    torch.testing.assert_close(gradient(True, guidance_interval=(last + 1, 1000.0)), outside, atol=1e-4, rtol=1e-4)
    assert (outside - gradient(False)).abs().max() > 1e-4
