"""The sampler: the same images as the stock pipelines', whatever stands beside a row in its batch."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import EulerDiscreteScheduler

from comat_core.backbones.attention_maps import CaptureRequest, captured_attention
from comat_core.backbones.protocol import Backbone
from comat_core.sampling.denoising import denoise
from comat_core.sampling.schedulers import BetaScheduler, make_scheduler
from comat_core.support.errors import UserError
from comat_core.support.randomness import make_generator, normal_noise
from tests.comat_core.stock_sampling import (
    GUIDANCE,
    PROMPTS,
    STEPS,
    row_generators,
    sample,
    stock_images,
    stock_pipeline,
)
from tests.tiny_models import IMAGE_SIDE

ModelOf = Callable[[str], Backbone]
SCHEDULERS = ("ddpm", "ddim", "dpm-solver++")


@pytest.mark.parametrize("scheduler_name", SCHEDULERS)
@pytest.mark.parametrize(("kind", "prediction_type"), [("sd", "epsilon"), ("sd", "sample"), ("sd2", "v_prediction")])
def test_every_prediction_type_and_scheduler_gives_the_stock_pipelines_images(
    kind: str, prediction_type: str, scheduler_name: str, tiny_model: ModelOf, tiny_folders: dict[str, Path]
) -> None:
    model = tiny_model(kind)
    model.scheduler.register_to_config(prediction_type=prediction_type)
    scheduler = make_scheduler(model.scheduler, scheduler_name)
    assert scheduler.prediction_type == prediction_type
    images = model.decode(sample(model, scheduler).latents).clamp(0, 1)
    stock = stock_images(stock_pipeline(tiny_folders[kind]), scheduler)
    torch.testing.assert_close(images, stock, atol=1e-4, rtol=0)


def test_a_scheduler_that_scales_its_input_gives_the_stock_pipelines_images(
    tiny_model: ModelOf, tiny_folders: dict[str, Path]
) -> None:
    model = tiny_model("sd")
    scheduler = BetaScheduler(EulerDiscreteScheduler.from_config(model.scheduler.config))
    images = model.decode(sample(model, scheduler).latents).clamp(0, 1)
    torch.testing.assert_close(images, stock_images(stock_pipeline(tiny_folders["sd"]), scheduler), atol=1e-4, rtol=0)


@pytest.mark.parametrize("scheduler_name", SCHEDULERS)
def test_a_mixed_batch_denoised_jointly_equals_its_rows_denoised_alone(
    scheduler_name: str, tiny_model: ModelOf
) -> None:
    model = tiny_model("sd")
    scheduler = make_scheduler(model.scheduler, scheduler_name)
    starts = [0, 3, 0, 1, 3]
    prompts = ["a red circle", "two dogs", "a green star", "a white heart", "a striped blue square"]
    noise = normal_noise((4, 8, 8), [make_generator(1, "start", row) for row in range(5)])
    clean = normal_noise((4, 8, 8), [make_generator(1, "clean", row) for row in range(5)])
    latents = torch.cat(
        [
            noise[row : row + 1]
            if start == 0
            else scheduler.noisy_start(clean[row : row + 1], noise[row : row + 1], start, STEPS)
            for row, start in enumerate(starts)
        ]
    )
    conditioning = model.encode_prompts(prompts, IMAGE_SIDE)
    negative = model.encode_unconditional(5, IMAGE_SIDE)
    settings: dict[str, Any] = {
        "scheduler": scheduler,
        "num_inference_steps": STEPS,
        "guidance_scale": GUIDANCE,
        "capture": CaptureRequest(steps=(STEPS - 1,)),
    }
    batches = []
    model.denoiser.register_forward_pre_hook(lambda _module, args: batches.append(len(args[0])))
    joint = denoise(
        model, latents, conditioning, negative, generators=row_generators(5), start_steps=starts, **settings
    )
    assert batches == [4, 6, 6, 10, 10], "rows join at their own step, in the same call as the others"
    for row, start in enumerate(starts):
        alone = denoise(
            model,
            latents[row : row + 1],
            conditioning.select([row]),
            negative.select([row]),
            generators=[row_generators(5)[row]],
            start_steps=[start],
            **settings,
        )
        torch.testing.assert_close(joint.latents[row], alone.latents[0], atol=1e-4, rtol=1e-4)
        for name, maps in alone.attention_maps[0].items():
            torch.testing.assert_close(joint.attention_maps[0][name][row], maps[0], atol=1e-5, rtol=1e-4)
    assert batches[5:] == [2] * (2 * 5 + 4 + 2 * 2)


def test_a_row_does_not_depend_on_the_rest_of_its_batch(tiny_model: ModelOf) -> None:
    model = tiny_model("sdxl")
    scheduler = make_scheduler(model.scheduler, "ddpm")
    together = sample(model, scheduler).latents
    alone = sample(model, scheduler, rows=[1]).latents
    turned = sample(model, scheduler, rows=[1, 0]).latents
    torch.testing.assert_close(together[1:], alone, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(together, turned.flip(0), atol=1e-4, rtol=1e-4)


def test_starting_on_the_way_noises_to_the_level_of_that_step(tiny_model: ModelOf) -> None:
    scheduler = make_scheduler(tiny_model("sd").scheduler, "ddpm")
    clean, noise = torch.ones(1, 4, 8, 8), torch.full((1, 4, 8, 8), 2.0)
    noisy = scheduler.noisy_start(clean, noise, 3, STEPS)
    kept = scheduler.own.alphas_cumprod[int(scheduler.timesteps(STEPS)[3])]
    torch.testing.assert_close(noisy, kept.sqrt() * clean + (1 - kept).sqrt() * noise)


def test_without_guidance_there_is_no_unconditional_half(tiny_model: ModelOf) -> None:
    model = tiny_model("sd")
    batches = []
    model.denoiser.register_forward_pre_hook(lambda _module, args: batches.append(len(args[0])))
    noise = normal_noise((4, 8, 8), row_generators(2))
    result = denoise(
        model,
        noise,
        model.encode_prompts(PROMPTS, IMAGE_SIDE),
        None,
        scheduler=make_scheduler(model.scheduler, "ddim"),
        num_inference_steps=2,
        guidance_scale=1.0,
        generators=row_generators(2),
        capture=CaptureRequest(steps=(1,), rows=[1]),
    )
    assert batches == [2, 2]
    assert {maps.shape[0] for maps in result.attention_maps[0].values()} == {1}


def test_only_the_asked_for_steps_rows_and_blocks_are_captured(tiny_model: ModelOf) -> None:
    model = tiny_model("sd")
    scheduler = make_scheduler(model.scheduler, "ddim")
    everything = sample(model, scheduler, capture=CaptureRequest(steps=range(STEPS), layers=("*",)))
    some = sample(model, scheduler, capture=CaptureRequest(steps={3, 1}, rows=slice(1, None), layers=("mid_block.*",)))
    assert [maps.step for maps in everything.attention_maps] == list(range(STEPS))
    assert [maps.step for maps in some.attention_maps] == [1, 3]
    for maps in some.attention_maps:
        (name,) = maps
        assert name.startswith("mid_block")
        torch.testing.assert_close(maps[name], everything.attention_maps[maps.step][name][1:])


def test_maps_are_those_of_the_prompts_and_not_of_the_unconditional_half(tiny_model: ModelOf) -> None:
    model = tiny_model("sd")
    scheduler = make_scheduler(model.scheduler, "ddim")
    (captured,) = sample(model, scheduler, capture=CaptureRequest(steps=(0,))).attention_maps
    noise, timesteps = normal_noise((4, 8, 8), row_generators(2)), scheduler.timesteps(STEPS)[:1].expand(2)
    layers = model.attention_layers()
    prompts, nothing = model.encode_prompts(PROMPTS, IMAGE_SIDE), model.encode_unconditional(2, IMAGE_SIDE)
    with torch.no_grad(), captured_attention(model.attention_probe, layers, [0, 1], (8, 8)) as expected:
        model.predict(noise, timesteps, prompts)
    with torch.no_grad(), captured_attention(model.attention_probe, layers, [0, 1], (8, 8)) as others:
        model.predict(noise, timesteps, nothing)
    assert set(captured) == set(expected)
    for name, maps in captured.items():
        torch.testing.assert_close(maps, expected[name], atol=1e-5, rtol=1e-4)
        assert (maps - others[name]).abs().max() > 1e-3, "the two halves have to differ for this test"


def test_maps_of_a_row_that_has_not_joined_cannot_be_asked_for(tiny_model: ModelOf) -> None:
    model = tiny_model("sd")
    with pytest.raises(AssertionError, match=r"rows \[1\] have not joined yet"):
        sample(model, BetaScheduler(model.scheduler), start_steps=[0, 2], capture=CaptureRequest(steps=(1,)))


def test_the_given_scheduler_is_left_as_it_was_and_the_callback_sees_every_step(tiny_model: ModelOf) -> None:
    model = tiny_model("sd")
    scheduler = make_scheduler(model.scheduler, "dpm-solver++")
    seen = []
    result = sample(model, scheduler, callback=lambda step, timestep, latents: seen.append((step, timestep, latents)))
    assert scheduler.own.num_inference_steps is None
    assert [step for step, _, _ in seen] == list(range(STEPS))
    assert [timestep for _, timestep, _ in seen] == sorted((t for _, t, _ in seen), reverse=True)
    assert torch.equal(seen[-1][2], result.latents)


def test_an_unknown_scheduler_is_named(tiny_model: ModelOf) -> None:
    with pytest.raises(UserError, match=r"unknown scheduler 'euler'.*ddim, ddpm, dpm-solver\+\+, flow-euler"):
        make_scheduler(tiny_model("sd").scheduler, "euler")
