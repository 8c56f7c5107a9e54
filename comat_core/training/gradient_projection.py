"""Gradients of several objectives that pull in opposite directions, brought to terms (PCGrad, arXiv 2001.06782)."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Projected:
    """What becomes of the gradients of several objectives."""

    parts: list[Tensor]
    """(P,) each: the objectives' gradients, without what opposed the others'."""
    conflicts: float
    """Share of the pairs whose gradients have a negative product, in [0, 1]."""

    @property
    def total(self) -> Tensor:
        """(P,): their sum, in place of the sum of the gradients."""
        return sum(self.parts[1:], self.parts[0])


def project_conflicts(gradients: Sequence[Tensor], generator: torch.Generator) -> Projected:
    """Algorithm 1 of Yu et al.: g_i <- g_i - (g_i . g_j) / |g_j|^2 g_j for every j that g_i opposes, in random order.

    The gradients that are projected on stay as they were given. Where nothing opposes, nothing changes. A gradient's
    length has no say in what others lose by it, so weights keep their meaning.

    Args:
        gradients: at least two, (P,) each.
        generator: of the orders, on the CPU.
    """
    products = torch.stack([torch.stack([one @ other for other in gradients]) for one in gradients])
    pairs = [(i, j) for i in range(len(gradients)) for j in range(i)]
    opposed = sum(bool(products[pair] < 0) for pair in pairs)
    parts = []
    for place, own in enumerate(gradients):
        part = own.clone()
        for other in torch.randperm(len(gradients), generator=generator).tolist():
            product = part @ gradients[other]
            if other != place and product < 0:
                part -= product / products[other, other] * gradients[other]
        parts.append(part)
    return Projected(parts, opposed / len(pairs))
