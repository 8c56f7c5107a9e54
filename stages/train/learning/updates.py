"""One optimiser step: gradients of all processes averaged, checked, clipped and applied."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
import torch.distributed
from torch import Tensor, nn

from comat_core.support.numerics import nonfinite_gradients
from stages.train.models import Learner


@dataclass(frozen=True)
class Update:
    """What an optimiser step did."""

    gradient_norm: float
    """Before clipping; NaN or infinite if a gradient is."""
    nonfinite: tuple[str, ...]
    """Losses, and parameters whose gradient, were not finite; the step was skipped if there is any."""


def apply_gradients(learner: Learner, scaler: torch.amp.GradScaler, losses: Mapping[str, float]) -> Update:
    """Average, unscale, check and clip the gradients, then step unless something is not finite; gradients are cleared.

    From the average on, all processes see the same gradients, so that they clip alike and skip the same steps.

    Args:
        losses: what the gradients are of, averaged over all processes. An infinite one can have a finite gradient.
    """
    average_over_processes(learner.parameters)
    scaler.unscale_(learner.optimizer)
    lost = tuple(name for name, value in losses.items() if not math.isfinite(value))
    nonfinite = lost + nonfinite_gradients(learner.parameters.items())
    norm = nn.utils.clip_grad_norm_(learner.parameters.values(), learner.gradient_clip)
    if not nonfinite:
        scaler.step(learner.optimizer)
        learner.schedule.step()
    learner.optimizer.zero_grad(set_to_none=True)
    return Update(float(norm), nonfinite)


def average_over_processes(parameters: dict[str, nn.Parameter]) -> None:
    """Replace every gradient by its mean over all processes; a process without one contributes zeros."""
    if not torch.distributed.is_initialized() or torch.distributed.get_world_size() == 1:
        return
    for parameter in parameters.values():
        if parameter.grad is None:
            parameter.grad = torch.zeros_like(parameter)
    flat = averaged_over_processes(
        torch.cat([parameter.grad.flatten() for parameter in parameters.values() if parameter.grad is not None])
    )
    start = 0
    for parameter in parameters.values():
        assert parameter.grad is not None
        parameter.grad.copy_(flat[start : start + parameter.numel()].view_as(parameter))
        start += parameter.numel()


def averaged_over_processes(values: Tensor) -> Tensor:
    """Replace values by their mean over all processes, and return them."""
    if torch.distributed.is_initialized() and torch.distributed.get_world_size() > 1:
        torch.distributed.all_reduce(values)
        values /= torch.distributed.get_world_size()
    return values
