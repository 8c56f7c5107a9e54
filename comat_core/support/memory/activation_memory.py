"""How many bytes of activations a call keeps for its backward pass, counted without computing anything."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor, nn
from torch._guards import active_fake_mode
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode, unset_fake_temporarily
from torch.autograd.graph import saved_tensors_hooks

from comat_core.support.memory.stored_bytes import stored_parts


def without_data() -> Any:
    """A context in which tensors have shapes, types and a device, but no memory: models made in it are plans."""
    return FakeTensorMode(allow_non_fake_inputs=True)


def with_data() -> AbstractContextManager[Any]:
    """A context in which tensors have their values though a plan is being made: for what follows from shapes alone."""
    return unset_fake_temporarily()


def kept_activations(call: Callable[[], object], planned: Iterable[nn.Module] = ()) -> int:
    """Run a call on tensors without data and return the bytes that its graph keeps.

    The models in it may be real: their weights, which are resident anyway, are not counted, but half-precision copies
    that autocast makes of them are. Tensors made inside the call have shapes and types but no memory. A call may count
    a part of itself in the same way.

    Args:
        planned: the models in it that were made in a `without_data()` context; the weights of these are not counted
            either.
    """
    weights = [*_weights_without_data(planned)]
    mode: Any = active_fake_mode() or (weights[0].fake_mode if weights else without_data())
    convert = mode.fake_tensor_converter.from_real_tensor
    resident: list[Tensor] = [*weights]
    kept: list[Tensor] = []

    def remember(*arguments: Any, **settings: Any) -> Tensor:
        resident.append(convert(*arguments, **settings))
        return resident[-1]

    def pack(tensor: Tensor) -> Tensor:
        if isinstance(tensor, FakeTensor):
            kept.append(tensor)
        return tensor

    mode.fake_tensor_converter.from_real_tensor = remember
    try:
        with torch.enable_grad(), mode, saved_tensors_hooks(pack, lambda tensor: tensor):
            call()
    finally:
        mode.fake_tensor_converter.from_real_tensor = convert
    # Both lists have kept their storages alive, so that no address has been given twice.
    counted = _storages(kept)
    for storage in _storages(resident):
        counted.pop(storage, None)
    return sum(counted.values())


def _weights_without_data(models: Iterable[nn.Module]) -> Iterator[FakeTensor]:
    for model in models:
        for weight in (part for parameter in model.parameters() for part in stored_parts(parameter)):
            if isinstance(weight, FakeTensor):
                yield weight


def _storages(tensors: Iterable[Tensor]) -> dict[int, int]:
    """Bytes of the tensors' storages, by the storages' identity."""
    return {tensor.untyped_storage()._cdata: tensor.untyped_storage().nbytes() for tensor in tensors}
