"""All processes of a training go on from one checkpoint, wherever it lies."""

from pathlib import Path

import torch
import torch.distributed
from accelerate import Accelerator
from torch import Tensor

from stages.train.learning.random_states import restore_random_states
from stages.train.learning.state import TrainingState


def restore_together(state: TrainingState, folder: Path, accelerator: Accelerator) -> bool:
    """Go back to the newest checkpoint that is whole, and return whether there is one.

    The main process reads it and hands it to the others: on another machine the folder may be empty, or hold the
    checkpoints of an earlier time.
    """
    found = state.restore_latest(folder) if accelerator.is_main_process else None
    if accelerator.num_processes > 1:
        packed = _from_main(b"" if found is None else state.pack(found), accelerator)
        if not accelerator.is_main_process and packed:
            found = state.unpack(packed)
    if found is not None:
        restore_random_states(found, accelerator)
    return found is not None


def _from_main(content: bytes, accelerator: Accelerator) -> bytes:
    """The main process's bytes, in all processes."""
    size = torch.tensor(len(content), device=accelerator.device)
    torch.distributed.broadcast(size, src=0)
    shared = torch.empty(int(size), dtype=torch.uint8, device=accelerator.device)
    if accelerator.is_main_process:
        shared.copy_(_as_tensor(content))
    torch.distributed.broadcast(shared, src=0)
    return shared.cpu().numpy().tobytes()


def _as_tensor(content: bytes) -> Tensor:
    return torch.frombuffer(bytearray(content), dtype=torch.uint8) if content else torch.empty(0, dtype=torch.uint8)
