"""Peak memory of a call, counted at torch's allocator."""

import gc
from collections.abc import Callable
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile


def peak_bytes(call: Callable[[], object], device: str = "cpu") -> int:
    """Return how far the memory that torch's allocator has handed out rises above where it was before the call.

    Every allocation and release of the allocator is counted, operators' work space included, to the byte;
    resident-set sizes would add what the C library keeps back. On a GPU the allocator keeps this statistic itself.
    """
    gc.collect()
    if device.startswith("cuda"):
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        call()
        return torch.cuda.max_memory_allocated(device) - before
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as recorded:
        call()
    assert recorded.profiler is not None and recorded.profiler.kineto_results is not None
    events: list[Any] = recorded.profiler.kineto_results.events()
    changes = sorted(
        ((event.start_ns(), event.nbytes()) for event in events if event.name() == "[memory]"),
        key=lambda change: change[0],
    )
    level = peak = 0
    for _, change in changes:
        level += change
        peak = max(peak, level)
    return peak
