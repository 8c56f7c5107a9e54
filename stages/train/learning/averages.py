"""The moving average of parameters that learn: smoother weights than those of any single step."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn

Parameters = Mapping[str, nn.Parameter]


def copied(parameters: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The values as they are now, by name."""
    return {name: value.detach().clone() for name, value in parameters.items()}


def decay_after(step: int, decay: float) -> float:
    """The share that the average keeps: little in the first steps, so that it soon forgets what it began with.

    Args:
        step: optimiser steps taken, this one included.
        decay: the share after many steps.
    """
    return min(decay, (1 + step) / (10 + step))


@torch.no_grad()
def update_average(average: Mapping[str, Tensor], parameters: Parameters, decay: float) -> None:
    """average <- decay * average + (1 - decay) * parameters, in place."""
    for name, parameter in parameters.items():
        average[name].lerp_(parameter.detach(), 1 - decay)


@torch.no_grad()
def put_in(values: Mapping[str, Tensor], parameters: Parameters) -> None:
    """Overwrite parameters with the values of their names."""
    for name, parameter in parameters.items():
        parameter.copy_(values[name])


@contextmanager
def put_in_for_now(values: Mapping[str, Tensor], parameters: Parameters) -> Iterator[None]:
    """Within the context the parameters have other values; afterwards their own, to the bit."""
    own = copied(parameters)
    put_in(values, parameters)
    try:
        yield
    finally:
        put_in(own, parameters)
