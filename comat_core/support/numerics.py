"""Numerical care that several losses share: full precision, a safe logarithm, finding non-finite values."""

from collections.abc import Iterable

import torch
from torch import Tensor

LOG_EPSILON = 1e-6
"""Where the logarithm of a probability is continued by its tangent."""


def full_precision(device: torch.device) -> torch.autocast:
    """Context in which autocast is off, so that a loss keeps the precision its inputs were cast to."""
    return torch.autocast(device_type=device.type, enabled=False)


def at_least_float32(tensor: Tensor) -> Tensor:
    """Raise half precision to float32; leave float32 and float64 as they are.

    On its way back to half precision a gradient that does not fit is saturated. As an infinity it would meet the zeros
    of an underflown softmax and turn into NaN.
    """
    if tensor.dtype not in (torch.float16, torch.bfloat16):
        return tensor
    raised, largest = tensor.float(), torch.finfo(tensor.dtype).max
    if raised.requires_grad:
        raised.register_hook(lambda gradient: gradient.clamp(-largest, largest))
    return raised


def safe_log(probability: Tensor, epsilon: float = LOG_EPSILON) -> Tensor:
    """Logarithm that is finite, with a finite and never vanishing gradient, for every finite input.

    Below `epsilon` the curve goes on as its tangent, log(epsilon) + (x - epsilon) / epsilon. Clamping would be
    finite too, but its gradient is zero exactly where the loss is worst: an attention sum that rounding has taken
    above 1.
    """
    log = probability.clamp(min=epsilon).log()
    return log + (probability - epsilon).clamp(max=0) / epsilon


def nonfinite_gradients(named_parameters: Iterable[tuple[str, Tensor]]) -> tuple[str, ...]:
    """Names of the parameters whose gradient holds a NaN or an infinity; those without a gradient are passed over."""
    pairs = [(name, value.grad) for name, value in named_parameters if value.grad is not None]
    if not pairs:
        return ()
    # Stacked before they are read: one wait for the device instead of one for each tensor.
    finite = torch.stack([torch.isfinite(gradient.detach()).all() for _, gradient in pairs]).tolist()
    return tuple(name for (name, _), is_finite in zip(pairs, finite, strict=True) if not is_finite)
