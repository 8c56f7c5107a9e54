"""One evaluation done by all processes of a training: each takes its share, and all know everything in the end."""

import torch
from accelerate import Accelerator
from torch import Tensor


def own_rows(total: int, accelerator: Accelerator) -> list[int]:
    """The rows of this process, as many as every other's; a few are taken twice where they do not divide evenly."""
    processes = accelerator.num_processes
    rounds = -(-total // processes)
    return [(turn * processes + accelerator.process_index) % total for turn in range(rounds)]


def gathered(own: Tensor, total: int, accelerator: Accelerator) -> Tensor:
    """All `total` rows on the CPU, in order, from each process's (rows, ...) as `own_rows` deals them."""
    if accelerator.num_processes == 1:
        return own.cpu()
    found = accelerator.gather(own.to(accelerator.device).contiguous())
    assert isinstance(found, torch.Tensor)
    by_process = found.reshape(accelerator.num_processes, -1, *own.shape[1:])
    return by_process.transpose(0, 1).reshape(-1, *own.shape[1:])[:total].cpu()
