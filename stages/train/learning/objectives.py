"""The online model's gradients of several rewards, each by a backward pass of its own, and what is made of them."""

from collections.abc import Callable, Mapping
from typing import Final

import torch
from torch import Tensor, nn

from comat_core.training.gradient_projection import project_conflicts
from stages.train.learning.updates import averaged_over_processes

REST: Final = "the rest"
"""What is no reward: it is added to the projected gradients as it is."""


class SeparateGradients:
    """Gradients of each reward and of the rest, summed over the micro-batches of a step.

    Args:
        parameters: of the online model, by name; between calls none of them has a gradient.
        rewards: names of the terms that are held against each other, in the same order in every process.
    """

    def __init__(self, parameters: Mapping[str, nn.Parameter], rewards: list[str]) -> None:
        self._parameters = parameters
        self._sums: dict[str, Tensor | None] = dict.fromkeys([*rewards, REST])

    def walk_back(self, terms: Mapping[str, Tensor], scale: Callable[[Tensor], Tensor]) -> None:
        """Walk the terms of a micro-batch backwards: once for each reward, and once for all others together.

        Args:
            scale: what is done to a loss before its backward pass.
        """
        rest = [term for name, term in terms.items() if name not in self._sums]
        walked = {name: term for name, term in terms.items() if name in self._sums}
        walked |= {REST: torch.stack(rest).sum()} if rest else {}
        last = next(reversed(walked))
        for name, term in walked.items():
            scale(term).backward(retain_graph=name != last)
            self._take(name)

    def put_in_projected(self, generator: torch.Generator) -> float:
        """Average over all processes, project, and leave the sum where the optimiser looks for it.

        Returns:
            The share of the rewards' pairs that oppose each other.
        """
        sums = {name: averaged_over_processes(total) for name, total in self._sums.items() if total is not None}
        rest = sums.pop(REST, None)
        projected = project_conflicts(list(sums.values()), generator)
        whole, start = projected.total if rest is None else projected.total + rest, 0
        for parameter in self._parameters.values():
            parameter.grad = whole[start : start + parameter.numel()].view_as(parameter).clone()
            start += parameter.numel()
        return projected.conflicts

    def _take(self, name: str) -> None:
        """Add the parameters' gradients to those of a name, and clear them."""
        found = [
            torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
            for parameter in self._parameters.values()
        ]
        flat, before = torch.cat([gradient.flatten() for gradient in found]), self._sums[name]
        self._sums[name] = flat if before is None else before + flat
        for parameter in self._parameters.values():
            parameter.grad = None
