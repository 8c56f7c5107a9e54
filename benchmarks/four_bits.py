"""What bitsandbytes' 4-bit layers take, as layers without data: bitsandbytes itself quantises on a GPU alone."""

from dataclasses import dataclass
from typing import Any, Final

import torch
from torch import Tensor, nn

BLOCK_SIZE: Final = 64
"""Weights that share a scale; bitsandbytes' own default."""
LEVELS: Final = 16


@dataclass
class BlockScales:
    """Stands for bitsandbytes' `QuantState` of one weight, in the names that it has there."""

    absmax: Tensor
    """The largest of each block, in float32."""
    code: Tensor
    """The levels, in float32."""
    state2: None = None
    """The scales are not quantised in their turn."""


class FourBitLinear(nn.Linear):
    """A linear layer whose weight is two numbers to a byte, and whose backward pass unpacks it again.

    As in bitsandbytes' `matmul_4bit`, a graph keeps the packed weight and nothing beside it.
    """

    def __init__(self, whole: nn.Linear) -> None:
        """Take a layer's place."""
        super().__init__(whole.in_features, whole.out_features, bias=False, device="meta")
        self.bias = whole.bias
        numbers = whole.weight.numel()
        packed = nn.Parameter(whole.weight.new_empty(((numbers + 1) // 2, 1), dtype=torch.uint8), requires_grad=False)
        blocks = (numbers + BLOCK_SIZE - 1) // BLOCK_SIZE
        scales: Any = packed  # the attribute is bitsandbytes'
        scales.quant_state = BlockScales(
            whole.weight.new_empty(blocks, dtype=torch.float32), whole.weight.new_empty(LEVELS, dtype=torch.float32)
        )
        self.weight = packed

    def forward(self, inputs: Tensor) -> Tensor:
        """Multiply by a weight of the right shape, in bfloat16 as `Quantisation` asks for."""
        product: Any = _UnpackedProduct.apply(inputs.to(torch.bfloat16), self.weight, self.out_features)
        product = product if self.bias is None else product + self.bias.to(product.dtype)
        return product.to(inputs.dtype)


class _UnpackedProduct(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, inputs: Tensor, packed: Tensor, out_features: int) -> Tensor:
        ctx.save_for_backward(packed)
        ctx.shape = inputs.shape
        return inputs.new_empty(*inputs.shape[:-1], out_features)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        return gradients[0].new_empty(ctx.shape), None, None


def quantise_to_four_bits(network: nn.Module) -> None:
    """Put such a layer in the place of every linear one, as the libraries' loaders do with bitsandbytes' own.

    transformers leaves out what a class wants in float32 beside float16: of T5 the second layer of each MLP.
    """
    left_out = set(getattr(network, "_keep_in_fp32_modules", None) or ())
    found = [(name, layer) for name, layer in network.named_modules() if type(layer) is nn.Linear]
    for name, layer in found:
        if not left_out & set(name.split(".")):
            parent, _, last = name.rpartition(".")
            setattr(network.get_submodule(parent), last, FourBitLinear(layer))
