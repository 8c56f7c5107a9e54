"""Fill a model with random weights that depend on nothing but a seed and each parameter's name."""

from typing import TypeVar

import torch
from torch import nn

from comat_core.support.randomness import make_generator

Module = TypeVar("Module", bound=nn.Module)


@torch.no_grad()
def fill_with_noise(module: Module, seed: int, std: float = 0.2) -> Module:
    """Set matrices to normal noise of the given standard deviation, scales to about 1 and biases to about 0."""
    for name, parameter in module.named_parameters():
        noise = torch.randn(parameter.shape, generator=make_generator(seed, "tiny weights", name))
        is_scale = parameter.dim() == 1 and name.endswith("weight")
        parameter.copy_(1 + 0.1 * noise if is_scale else std * noise)
    return module
