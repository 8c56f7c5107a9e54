"""A denoiser that keeps the inputs of its blocks alone for the backward pass, and calls each block again in it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from torch import nn
from torch.utils.checkpoint import checkpoint

from comat_core.backbones.adapters import adapters_as_now
from comat_core.backbones.attention_maps import CapturingProcessor


class RecomputedBlocks:
    """What a model of diffusers calls its blocks through, as `torch.utils.checkpoint.checkpoint` is called.

    A block whose attention maps are read is called as it is: nobody listens when it would be called again.
    """

    def __init__(self) -> None:
        self.observer: Callable[[Callable[[], object]], object] | None = None
        """Handed every call that will be repeated, before it is made; the memory plan's."""

    def __call__(self, block: nn.Module, *inputs: Any) -> Any:
        """Call a block, and again in the backward pass if there is one."""
        if any(isinstance(getattr(layer, "processor", None), CapturingProcessor) for layer in block.modules()):
            return block(*inputs)
        if self.observer is not None:
            self.observer(lambda: block(*inputs))
        as_now = adapters_as_now(block)
        flags = [parameter.requires_grad for parameter in block.parameters()]

        def repeatable(*repeated: Any) -> Any:
            with as_now(), _asking_for_gradients(block, flags):
                return block(*repeated)

        # Nothing in a block is random: dropout is off in frozen models.
        return checkpoint(repeatable, *inputs, use_reentrant=False, preserve_rng_state=False)


def recompute_blocks(denoiser: Any) -> None:
    """Let a denoiser of diffusers keep its blocks' inputs alone."""
    denoiser.enable_gradient_checkpointing(RecomputedBlocks())


def recomputed_blocks_of(denoiser: Any) -> RecomputedBlocks | None:
    """What a denoiser calls its blocks through; None if that is nothing of this module."""
    found = (getattr(module, "_gradient_checkpointing_func", None) for module in denoiser.modules())
    return next((one for one in found if isinstance(one, RecomputedBlocks)), None)


@contextmanager
def _asking_for_gradients(block: nn.Module, flags: list[bool]) -> Iterator[None]:
    """Within the context the block's parameters ask for a gradient as they did when it was called first."""
    parameters = [*block.parameters()]
    found = [parameter.requires_grad for parameter in parameters]
    try:
        _set(parameters, flags)
        yield
    finally:
        _set(parameters, found)


def _set(parameters: list[nn.Parameter], flags: list[bool]) -> None:
    for parameter, flag in zip(parameters, flags, strict=True):
        if parameter.requires_grad != flag:
            parameter.requires_grad_(flag)
