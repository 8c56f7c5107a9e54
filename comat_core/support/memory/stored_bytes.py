"""How many bytes a tensor's numbers take, whatever it is made of."""

from collections.abc import Iterator
from typing import Any

from torch import Tensor


def stored_bytes(tensor: Tensor) -> int:
    """Bytes of a tensor's data; of a quantised one those of its integers and their scales."""
    return sum(part.numel() * part.element_size() for part in stored_parts(tensor))


def stored_parts(tensor: Tensor) -> Iterator[Tensor]:
    """The plain tensors that hold a tensor's data: itself, unless it is quantised.

    torchao's have shape and type of what they stand for, and keep other tensors inside. bitsandbytes' hold pairs of
    4-bit numbers, and the scales of their blocks beside.
    """
    flatten: Any = getattr(tensor, "__tensor_flatten__", None)
    if flatten is not None:
        names, _ = flatten()
        for name in names:  # one that is spread over processes names these, too
            if isinstance(part := getattr(tensor, name), Tensor):
                yield from stored_parts(part)
        return
    yield tensor
    scales: Any = getattr(tensor, "quant_state", None)
    while scales is not None:
        yield scales.absmax
        yield scales.code
        scales = scales.state2  # the scales' own, if they are quantised too
