"""Two calls timed in turn, so that whatever else the machine does meanwhile meets both."""

import gc
import time
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median
from typing import Final

import torch

CLOCKS: Final[dict[str, Callable[[], float]]] = {"wall": time.perf_counter, "processor": time.process_time}


@dataclass(frozen=True)
class Timing:
    """How two calls are timed."""

    repetitions: int
    clock: str = "wall"
    """One of `CLOCKS`: the processor's own time where others share it."""


def alternate(
    measured: Callable[[], None], against: Callable[[], None], timing: Timing, device: str
) -> dict[str, object]:
    """Time two calls in turn, first the one then the other in front, after one unmeasured round."""
    seconds: dict[str, list[float]] = {"measured": [], "against": []}
    for repetition in range(timing.repetitions + 1):
        pair = [("measured", measured), ("against", against)]
        for name, call in pair if repetition % 2 else reversed(pair):
            elapsed = _seconds(call, device, CLOCKS[timing.clock])
            if repetition:
                seconds[name].append(elapsed)
    ratios = sorted(a / b for a, b in zip(seconds["measured"], seconds["against"], strict=True))
    return {
        "ratio": median(ratios),
        "ratio_lowest": ratios[0],
        "ratio_highest": ratios[-1],
        "seconds": median(seconds["measured"]),
        "seconds_against": median(seconds["against"]),
        "repetitions": timing.repetitions,
        "clock": timing.clock,
    }


def _seconds(call: Callable[[], None], device: str, clock: Callable[[], float]) -> float:
    gc.collect()
    if device == "cuda":
        torch.cuda.synchronize()
    start = clock()
    call()
    if device == "cuda":
        torch.cuda.synchronize()
    return clock() - start
