"""The memory of this machine, or of the container that a process runs in."""

import re
from pathlib import Path
from typing import Final

import psutil

CONTAINER: Final = Path("/sys/fs/cgroup")
"""Where a control group (version 2) tells a container's limits; elsewhere than in containers its files are missing."""


def machine_memory() -> int:
    """Bytes of this machine's memory, or of the container's that this is."""
    limit = _container_limit()
    total = psutil.virtual_memory().total
    return total if limit is None else min(total, limit)


def free_memory() -> int:
    """Bytes that a process could get now, files that the kernel keeps in memory until it is wanted counted as free."""
    available = psutil.virtual_memory().available
    limit = _container_limit()
    return available if limit is None else max(0, min(available, limit - _used_in_container()))


def _container_limit() -> int | None:
    try:
        return int((CONTAINER / "memory.max").read_text())
    except (OSError, ValueError):  # not in a container, or in one without a limit ("max")
        return None


def _used_in_container() -> int:
    used = int((CONTAINER / "memory.current").read_text())
    kept_files = re.search(r"^inactive_file (\d+)$", (CONTAINER / "memory.stat").read_text(), re.MULTILINE)
    return used - int(kept_files[1]) if kept_files else used
