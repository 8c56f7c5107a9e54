"""Peak resident memory of a call: what the process had in memory at most, mapped files included."""

from collections.abc import Callable
from pathlib import Path

RESET_PEAK = "5"
"""What Linux takes for it in clear_refs."""


def resident_bytes() -> int:
    """What this process has in memory now."""
    return _kilobytes("VmRSS") * 1024


def peak_resident_bytes(call: Callable[[], object]) -> int:
    """The most that this process had in memory while the call ran. Linux alone keeps such a peak that can be reset."""
    Path("/proc/self/clear_refs").write_text(RESET_PEAK)
    call()
    return _kilobytes("VmHWM") * 1024


def _kilobytes(name: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(f"{name}:")).split()[1])
