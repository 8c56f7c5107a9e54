"""How many bytes a tensor's numbers take, whatever it is made of."""

from typing import Any

from torch import Tensor


def stored_bytes(tensor: Tensor) -> int:
    """Bytes of a tensor's data; of a quantised one those of its integers and their scales.

    A quantised tensor of torchao has shape and type of what it stands for, and keeps other tensors inside.
    """
    flatten: Any = getattr(tensor, "__tensor_flatten__", None)
    if flatten is None:
        return tensor.numel() * tensor.element_size()
    names, _ = flatten()
    return sum(stored_bytes(getattr(tensor, name)) for name in names)
