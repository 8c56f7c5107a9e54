"""The loop that fits every model of the miniature world."""

from collections.abc import Callable

import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from tqdm import tqdm

from comat_core.support.randomness import make_generator

WARM_UP_STEPS = 50


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
        module: what is trained; forward passes run under bfloat16 autocast, its parameters stay float32.
        loss_of_step: computes the scalar float32 loss of step 0, 1, … (it draws its own batch).
        steps: number of optimiser steps.
        learning_rate: the peak.
        name: shown by the progress bar.
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
    module.train()
    smoothed = 0.0
    progress = tqdm(range(steps), desc=name, mininterval=5.0)
    for step in progress:
        with torch.autocast("cpu", torch.bfloat16):
            loss = loss_of_step(step)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(module.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        if average is not None:
            average.update_parameters(module)
        smoothed = loss.item() if step == 0 else 0.98 * smoothed + 0.02 * loss.item()
        progress.set_postfix(loss=f"{smoothed:.4f}", refresh=False)
    if average is not None:
        module.load_state_dict(average.module.state_dict())
    module.eval()


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
