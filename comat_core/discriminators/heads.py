"""Linear layers of the discriminators' heads."""

import torch
from torch import nn
from torch.nn.utils import skip_init


def seeded_linear(inputs: int, outputs: int, generator: torch.Generator) -> nn.Linear:
    """A float32 layer inputs -> outputs: weights uniform within 1 / sqrt(inputs), as torch draws them, and bias 0."""
    layer = skip_init(nn.Linear, inputs, outputs)
    assert isinstance(layer, nn.Linear)
    bound = inputs**-0.5
    with torch.no_grad():
        layer.weight.uniform_(-bound, bound, generator=generator)
        layer.bias.zero_()
    return layer
