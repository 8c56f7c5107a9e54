"""How much of a device's memory a stage's batches may take."""

from pathlib import Path
from typing import TYPE_CHECKING, Final

import psutil

if TYPE_CHECKING:
    import torch

SHARE_OF_GPU: Final = 0.5
"""Of what the weights leave free: operations need working memory that is not counted as a tensor's."""
SHARE_OF_MACHINE: Final = 0.125
"""Of a CPU's memory: other processes of a run work on the same machine."""
CONTAINER_LIMIT: Final = Path("/sys/fs/cgroup/memory.max")


def usable_memory(device: "torch.device") -> int:
    """Bytes that a stage's batches may take on a device whose models are loaded.

    They follow from the machine and the models, not from what else runs just now: a run that is repeated cuts the
    same batches.
    """
    import torch

    if device.type == "cuda":
        free = torch.cuda.get_device_properties(device).total_memory - torch.cuda.memory_allocated(device)
        return int(SHARE_OF_GPU * free)
    return int(SHARE_OF_MACHINE * machine_memory())


def machine_memory() -> int:
    """Bytes of this machine's memory, or of the container's that this is."""
    total = psutil.virtual_memory().total
    try:
        return min(total, int(CONTAINER_LIMIT.read_text()))
    except (OSError, ValueError):  # not in a container, or in one without a limit ("max")
        return total
