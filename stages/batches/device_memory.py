"""How much of a device's memory a stage's batches may take."""

from typing import TYPE_CHECKING, Final

from comat_core.support.memory.machine_memory import machine_memory

if TYPE_CHECKING:
    import torch

SHARE_OF_GPU: Final = 0.5
"""Of what the weights leave free: operations need working memory that is not counted as a tensor's."""
SHARE_OF_MACHINE: Final = 0.125
"""Of a CPU's memory: other processes of a run work on the same machine."""


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
