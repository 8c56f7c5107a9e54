"""How often a denoiser is called, and with how many rows: what a sampler or a training costs on any machine."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensor
from torch.nn.modules.module import register_module_forward_pre_hook


@dataclass
class NetworkCalls:
    """Forward passes of the denoiser, those that a backward pass repeats included."""

    calls: int = 0
    rows: int = 0
    """Latents that it was given in all; both halves of guidance count."""


@contextmanager
def counted_calls(kind: type[nn.Module]) -> Iterator[NetworkCalls]:
    """Count the calls of all networks of a class; what is only planned, on tensors without data, is no call."""
    counted = NetworkCalls()

    def count(module: nn.Module, arguments: tuple[Tensor, ...]) -> None:
        if isinstance(module, kind) and not isinstance(arguments[0], FakeTensor):
            counted.calls += 1
            counted.rows += len(arguments[0])

    hook = register_module_forward_pre_hook(count)
    try:
        yield counted
    finally:
        hook.remove()
