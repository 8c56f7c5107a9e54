"""Processes that a test pretends to be one of, and the whole weights that one of them holds."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch.distributed as distributed
from torch import nn
from torch.distributed.fsdp._fully_shard._fsdp_param_group import FSDPParamGroup
from torch.testing._internal.distributed.fake_pg import FakeStore


@contextmanager
def alone() -> Iterator[None]:
    """Within the context this is the only process of a group."""
    with _joined("gloo", distributed.HashStore(), 1):
        yield


@contextmanager
def first_of_two() -> Iterator[None]:
    """Within the context this is one process of two; of the other it gets no data, but memory for them."""
    with _joined("fake", FakeStore(), 2):
        yield


@contextmanager
def _joined(backend: str, store: Any, processes: int) -> Iterator[None]:
    distributed.init_process_group(backend, store=store, rank=0, world_size=processes)
    try:
        yield
    finally:
        distributed.destroy_process_group()


@contextmanager
def most_gathered(network: nn.Module) -> Iterator[list[int]]:
    """The list's only item: the most bytes that a sharded network's whole weights, and buffers for them, take.

    As FSDP keeps book, whenever it gathers something.
    """
    most, groups = [0], set[Any]()
    inside = set(network.modules())

    def noting(original: Any) -> Any:
        def call(group: Any, *arguments: Any) -> None:
            original(group, *arguments)
            if group.modules[0] in inside:
                groups.add(group)
                most[0] = max(most[0], _held(groups))

        return call

    with pytest.MonkeyPatch.context() as patch:
        for name in ("unshard", "wait_for_unshard"):
            patch.setattr(FSDPParamGroup, name, noting(getattr(FSDPParamGroup, name)))
        yield most


def _held(groups: set[Any]) -> int:
    """Bytes of the storages of whole weights, and of what has arrived and is not copied into them, or was just now."""
    tensors = [tensor for group in groups for weight in group.fsdp_params for tensor in weight.all_gather_outputs]
    arrived = [group._all_gather_result for group in groups]
    arrived += [state.all_gather_result for group in groups if (state := group.comm_ctx.all_gather_state) is not None]
    tensors += [result.all_gather_output for result in arrived if result is not None]
    sizes = {tensor.untyped_storage()._cdata: tensor.untyped_storage().nbytes() for tensor in tensors}
    return sum(sizes.values())
