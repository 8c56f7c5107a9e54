"""The loop that fits every model of the miniature world."""

from collections.abc import Callable
from functools import cache
from time import perf_counter

import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from tqdm import tqdm

from comat_core.support.randomness import make_generator
from data.miniature_world.recipes.fitting_state import FittingState

WARM_UP_STEPS = 50
STEPS_BETWEEN_SAVES = 200


def fit(
    module: nn.Module,
    loss_of_step: Callable[[int], torch.Tensor],
    *,
    steps: int,
    learning_rate: float,
    name: str,
    decay_steps: int | None = None,
    weight_decay: float = 0.01,
    average_decay: float | None = None,
) -> None:
    """Fit a module in place with AdamW, a linear warm-up and a cosine decay to zero.

    Args:
        module: what is trained; forward passes run under bfloat16 autocast where the processor gains by it, its
            parameters stay float32.
        loss_of_step: computes the scalar float32 loss of step 0, 1, … (it draws its own batch).
        steps: number of optimiser steps.
        learning_rate: the peak.
        name: shown by the progress bar; what is saved by `fitting_state.saved_below` goes by it.
        decay_steps: the step at which the rate would reach zero; `steps` by default.
        average_decay: when given, the parameters end as their exponential moving average with this decay per step.
    """
    optimizer = torch.optim.AdamW(module.parameters(), lr=learning_rate, weight_decay=weight_decay)
    schedule = torch.optim.lr_scheduler.SequentialLR(
        optimizer,
        [
            torch.optim.lr_scheduler.LinearLR(optimizer, 0.02, total_iters=WARM_UP_STEPS),
            torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, max((decay_steps or steps) - WARM_UP_STEPS, 1)),
        ],
        milestones=[WARM_UP_STEPS],
    )
    average = AveragedModel(module, multi_avg_fn=get_ema_multi_avg_fn(average_decay)) if average_decay else None
    state = FittingState.of(name, module, optimizer, schedule, average)
    module.train()
    smoothed = 0.0
    progress = tqdm(range(state.restore(), steps), desc=name, mininterval=5.0, initial=state.step, total=steps)
    for step in progress:
        with torch.autocast("cpu", torch.bfloat16, enabled=bfloat16_is_faster()):
            loss = loss_of_step(step)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(module.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        if average is not None:
            average.update_parameters(module)
        smoothed = 0.98 * smoothed + 0.02 * loss.item() if smoothed else loss.item()
        progress.set_postfix(loss=f"{smoothed:.4f}", refresh=False)
        if (step + 1) % STEPS_BETWEEN_SAVES == 0 or step + 1 == steps:
            state.save(step + 1)
    if average is not None:
        module.load_state_dict(average.module.state_dict())
    module.eval()


@cache
def bfloat16_is_faster() -> bool:
    """Whether a matrix product in bfloat16 beats one in float32 here: without AVX512-BF16 or AMX it is emulated."""
    seconds = {}
    for kind in (torch.float32, torch.bfloat16):
        left, right = torch.ones(1024, 256, dtype=kind), torch.ones(256, 512, dtype=kind)
        repetitions = []
        for _ in range(5):
            started = perf_counter()
            torch.mm(left, right)
            repetitions.append(perf_counter() - started)
        seconds[kind] = min(repetitions)
    return seconds[torch.bfloat16] < seconds[torch.float32]


def draw_rows(seed: int, name: str, step: int, count: int, batch_size: int) -> torch.Tensor:
    """Draw the row indices, in [0, count), of one step's batch."""
    return torch.randint(count, (batch_size,), generator=make_generator(seed, f"{name} batch", step))


def initialise(module: nn.Module, seed: int, name: str) -> None:
    """Draw a module's initial weights again, from the seed, with a variance of 1 / fan-in; constant vectors are kept.

    Constructors draw from torch's global generator, which nobody here seeds.
    """
    for key, parameter in module.named_parameters():
        constant = bool((parameter == parameter.flatten()[0]).all())
        if constant and parameter.dim() < 2:
            continue
        generator = make_generator(seed, f"{name} weights", key)
        fan_in = parameter.shape[1:].numel() if parameter.dim() > 2 else parameter.shape[-1]
        with torch.no_grad():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * fan_in**-0.5)


def pixels_to_unit_range(pixels: torch.Tensor) -> torch.Tensor:
    """Turn uint8 images (B, H, W, 3) into float ones (B, 3, H, W) in [0, 1]."""
    return pixels.permute(0, 3, 1, 2).float() / 255.0


def jitter(images: torch.Tensor, seed: int, step: int, strength: float = 0.03) -> torch.Tensor:
    """Blur half of the images (B, 3, H, W) a little and add faint noise to all, as generated images have it."""
    generator = make_generator(seed, "image jitter", step)
    blurred = torch.nn.functional.avg_pool2d(images, 3, stride=1, padding=1, count_include_pad=False)
    share = torch.rand(len(images), 1, 1, 1, generator=generator)
    share = torch.where(share < 0.5, 0.0, 2 * share - 1)
    noise = torch.randn(images.shape, generator=generator) * strength
    return torch.lerp(images, blurred, share) + noise * torch.rand(len(images), 1, 1, 1, generator=generator)
