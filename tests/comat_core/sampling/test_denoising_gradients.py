"""Gradients through the denoising loop, against references written independently of it."""

from collections.abc import Callable, Collection
from copy import deepcopy
from typing import Any

import pytest
import torch
from torch import Tensor

from comat_core.backbones.adapters import active_adapter, add_lora
from comat_core.backbones.attention_maps import CaptureRequest
from comat_core.backbones.protocol import Backbone
from comat_core.sampling.denoising import DenoisingResult
from comat_core.sampling.schedulers import make_scheduler
from comat_core.support.randomness import make_generator, normal_noise
from tests.comat_core.stock_sampling import GUIDANCE, PROMPTS, STEPS, row_generators, sample
from tests.tiny_models import IMAGE_SIDE

ModelOf = Callable[[str], Backbone]


@pytest.fixture
def trained(tiny_model: ModelOf) -> tuple[Backbone, list[torch.nn.Parameter]]:
    """A tiny model in float64 with an adapter "online" that is not zero any more, and its parameters."""
    model = tiny_model("sd")
    parameters = add_lora(model, "online", rank=2, seed=1)
    for index, parameter in enumerate(parameters):
        parameter.data = 0.3 * torch.randn(parameter.shape, generator=make_generator(1, "trained", index))
    model.denoiser.double()
    return model, parameters


def noise_levels() -> Tensor:
    """The products of alphas of the tiny checkpoints' schedule, in float64: (1000,)."""
    return torch.cumprod(1 - torch.linspace(0.00085**0.5, 0.012**0.5, 1000, dtype=torch.float64) ** 2, dim=0)


def scheduler_of(model: Backbone, name: str) -> Any:
    """Make a scheduler; DDPM's tables are raised to float64, so that only a mistake can make a difference."""
    scheduler = make_scheduler(model.scheduler, name)
    if name == "ddpm":
        torch.testing.assert_close(scheduler.own.alphas_cumprod.double(), noise_levels(), atol=1e-5, rtol=1e-4)
        scheduler.own.alphas_cumprod, scheduler.own.one = noise_levels(), torch.tensor(1.0, dtype=torch.float64)
    return scheduler


def score(latents: Tensor) -> Tensor:
    """Some scalar that depends on every latent in its own way."""
    weights = torch.randn(latents.shape, generator=make_generator(1, "score"), dtype=latents.dtype)
    return (weights * latents).sum() + latents.square().mean()


def gradients(
    trained: tuple[Backbone, list[torch.nn.Parameter]], scheduler: str = "ddpm", **options: Any
) -> tuple[list[Tensor], DenoisingResult]:
    model, parameters = trained
    with active_adapter(model.denoiser, "online"):
        result = sample(model, scheduler_of(model, scheduler), **options)
        return list(torch.autograd.grad(score(result.latents), parameters)), result


def slow_ddpm(model: Backbone, gradient_steps: Collection[int], detach: bool) -> Tensor:
    """Ancestral sampling (DDPM, equations 7 and 11), one UNet call per half and row, written from the equations."""
    kept = noise_levels()
    times = [1 + (STEPS - 1 - step) * (1000 // STEPS) for step in range(STEPS)]
    finals = []
    for row, prompt in enumerate(PROMPTS):
        generator = row_generators(2)[row]
        x = normal_noise((4, 8, 8), [generator], dtype=torch.float64)
        halves = [model.encode_unconditional(1, IMAGE_SIDE), model.encode_prompts([prompt], IMAGE_SIDE)]
        for step, time in enumerate(times):
            seen = x.detach() if detach or step not in gradient_steps else x
            without, with_prompt = (model.predict(seen, torch.tensor([time]), half) for half in halves)
            noise = without + GUIDANCE * (with_prompt - without)
            noise = noise if step in gradient_steps else noise.detach()
            before = kept[time - 1000 // STEPS] if time > 1000 // STEPS else torch.tensor(1.0, dtype=torch.float64)
            alpha = kept[time] / before
            clean = (x - (1 - kept[time]).sqrt() * noise) / kept[time].sqrt()
            mean = before.sqrt() * (1 - alpha) / (1 - kept[time]) * clean
            mean = mean + alpha.sqrt() * (1 - before) / (1 - kept[time]) * x
            variance = ((1 - before) / (1 - kept[time]) * (1 - alpha)).clamp(min=1e-20)
            x = mean + variance.sqrt() * torch.randn(x.shape, generator=generator, dtype=torch.float64)
        finals.append(x)
    return torch.cat(finals)


@pytest.mark.parametrize("detach", [True, False])
@pytest.mark.parametrize("gradient_steps", [(1, 3), (0, 4), range(STEPS)])
def test_the_gradient_equals_brute_force_autograd(
    trained: tuple[Backbone, list[torch.nn.Parameter]], gradient_steps: Collection[int], detach: bool
) -> None:
    model, parameters = trained
    mine, result = gradients(trained, gradient_steps=gradient_steps, detach_denoiser_input=detach)
    with active_adapter(model.denoiser, "online"):
        latents = slow_ddpm(model, gradient_steps, detach)
        expected = torch.autograd.grad(score(latents), parameters)
    torch.testing.assert_close(result.latents, latents, atol=1e-8, rtol=1e-8)
    assert all(gradient.abs().max() > 0 for gradient in expected)
    for left, right in zip(mine, expected, strict=True):
        torch.testing.assert_close(left, right, atol=1e-8 * float(right.abs().max()), rtol=1e-8)


@pytest.mark.parametrize("scheduler", ["ddpm", "ddim"])
def test_with_every_step_and_no_detaching_the_gradient_is_the_true_one(
    trained: tuple[Backbone, list[torch.nn.Parameter]], scheduler: str
) -> None:
    model, parameters = trained
    exact, _ = gradients(trained, scheduler, gradient_steps=range(STEPS), detach_denoiser_input=False)
    generator = make_generator(1, "direction")
    direction = [torch.randn(p.shape, generator=generator, dtype=p.dtype) for p in parameters]
    expected = sum(float((slope * step).sum()) for slope, step in zip(exact, direction, strict=True))
    scores = []
    size = 1e-6
    for sign in (1, -1):
        with torch.no_grad():
            for parameter, step in zip(parameters, direction, strict=True):
                parameter.add_(step, alpha=sign * size)
            with active_adapter(model.denoiser, "online"):
                scores.append(float(score(sample(model, scheduler_of(model, scheduler)).latents)))
            for parameter, step in zip(parameters, direction, strict=True):
                parameter.sub_(step, alpha=sign * size)
    assert (scores[0] - scores[1]) / (2 * size) == pytest.approx(expected, rel=1e-4)


def test_the_gradient_of_a_multistep_solver_reaches_all_its_predictions(
    trained: tuple[Backbone, list[torch.nn.Parameter]],
) -> None:
    steps = [gradients(trained, "dpm-solver++", gradient_steps=(step,))[0] for step in range(STEPS)]
    together, _ = gradients(trained, "dpm-solver++", gradient_steps=range(STEPS))
    for index, gradient in enumerate(together):
        # With detached inputs the result is linear in each prediction's own contribution: gradients add up.
        total = torch.stack([step[index] for step in steps]).sum(dim=0)
        torch.testing.assert_close(gradient, total, atol=1e-4 * float(total.abs().max()), rtol=1e-3)
    assert all(max(float(gradient.abs().max()) for gradient in step) > 0 for step in steps)


def test_recomputation_gives_the_same_gradient_and_maps_even_when_another_adapter_is_active_by_then(
    trained: tuple[Backbone, list[torch.nn.Parameter]],
) -> None:
    model, parameters = trained
    outcomes = []
    for checkpoint_denoiser in (False, True):
        with active_adapter(model.denoiser, "online"):
            result = sample(
                model,
                make_scheduler(model.scheduler, "ddpm"),
                gradient_steps=(1, 3),
                checkpoint_denoiser=checkpoint_denoiser,
                capture=CaptureRequest(steps=(3,), rows=[1]),
            )
        maps = dict(result.attention_maps[0])
        loss = score(result.latents) + sum(layer.square().sum() for layer in maps.values())
        with active_adapter(model.denoiser, None):
            slopes = torch.autograd.grad(loss, parameters)
        outcomes.append((result.latents, maps, slopes))
        assert not any(module._forward_hooks for module in model.denoiser.modules())
    torch.testing.assert_close(outcomes[0], outcomes[1], atol=1e-9, rtol=1e-9)
    assert all(layer.requires_grad for layer in outcomes[1][1].values())


def test_maps_carry_their_own_gradient_in_gradient_steps_only(
    trained: tuple[Backbone, list[torch.nn.Parameter]],
) -> None:
    model, parameters = trained
    with active_adapter(model.denoiser, "online"):
        result = sample(
            model, make_scheduler(model.scheduler, "ddpm"), gradient_steps=(3,), capture=CaptureRequest(steps=(2, 3))
        )
    without, with_gradient = result.attention_maps
    assert not any(layer.requires_grad for layer in without.values())
    slopes = torch.autograd.grad(
        torch.stack([layer.square().sum() for layer in with_gradient.values()]).sum(), parameters, allow_unused=True
    )
    assert any(slope is not None and slope.abs().max() > 0 for slope in slopes)


def test_the_unet_keeps_a_graph_in_gradient_steps_only_and_none_exists_before_the_first(
    trained: tuple[Backbone, list[torch.nn.Parameter]],
) -> None:
    model, _ = trained
    modes: list[bool] = []
    saved: list[int] = []
    kept: list[Tensor] = []
    model.denoiser.register_forward_pre_hook(lambda _module, _args: modes.append(torch.is_grad_enabled()))

    def keep(tensor: Tensor) -> Tensor:
        kept.append(tensor)
        return tensor

    with (
        active_adapter(model.denoiser, "online"),
        torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor),
    ):
        result = sample(
            model,
            make_scheduler(model.scheduler, "ddpm"),
            gradient_steps=(2,),
            callback=lambda _step, _timestep, _latents: saved.append(len(kept)),
        )
    assert modes == [False, False, True, False, False]
    assert saved[:2] == [0, 0]
    assert saved[2] > 100
    assert result.latents.requires_grad
    assert torch.is_grad_enabled()
    assert not sample(model, make_scheduler(model.scheduler, "ddpm")).latents.requires_grad


def test_what_is_kept_for_the_backward_pass_does_not_grow_with_the_number_of_steps(
    trained: tuple[Backbone, list[torch.nn.Parameter]],
) -> None:
    model, _ = trained

    def kept_elements(num_steps: int, count: int, checkpoint_denoiser: bool) -> int:
        sizes: dict[int, int] = {}

        def keep(tensor: Tensor) -> Tensor:
            sizes[tensor.data_ptr()] = tensor.numel()
            alive.append(tensor)
            return tensor

        alive: list[Tensor] = []
        hooks = torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor)
        with active_adapter(model.denoiser, "online"), hooks:
            sample(
                model,
                make_scheduler(model.scheduler, "ddpm"),
                num_inference_steps=num_steps,
                gradient_steps=range(count),
                checkpoint_denoiser=checkpoint_denoiser,
            )
        return sum(sizes.values())

    assert kept_elements(20, 1, False) < 1.01 * kept_elements(4, 1, False)
    assert kept_elements(4, 4, False) < 4.01 * kept_elements(4, 1, False)
    assert kept_elements(4, 2, True) < 0.05 * kept_elements(4, 2, False)


def test_only_the_adapters_parameters_receive_a_gradient(
    trained: tuple[Backbone, list[torch.nn.Parameter]],
) -> None:
    model, parameters = trained
    untouched = deepcopy(dict(model.denoiser.named_parameters()))
    with active_adapter(model.denoiser, "online"):
        score(sample(model, make_scheduler(model.scheduler, "ddim"), gradient_steps=(2,)).latents).backward()
    with_gradient = [parameter for parameter in model.denoiser.parameters() if parameter.grad is not None]
    assert {id(parameter) for parameter in with_gradient} == {id(parameter) for parameter in parameters}
    assert all(torch.equal(parameter, untouched[name]) for name, parameter in model.denoiser.named_parameters())
