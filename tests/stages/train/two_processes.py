"""Work done by two processes that find each other as those of a training do.

They are forked, with everything imported already: that saves the seconds of starting them.
"""

import multiprocessing
import os
import traceback
from collections.abc import Callable, Mapping
from multiprocessing.connection import Connection
from typing import Any

import torch
from accelerate.state import AcceleratorState, GradientState
from torch.distributed import TCPStore

HOST = "127.0.0.1"
PATIENCE_SECONDS = 300  # on a busy machine


def in_two_processes(work: Callable[[int], Any]) -> list[Any]:
    """Let two processes work, and return what each has returned, by its rank.

    Args:
        work: told the rank; what it returns is pickled.
    """
    context = multiprocessing.get_context("fork")
    store = TCPStore(HOST, 0, is_master=True, wait_for_workers=False)
    shared = {"MASTER_ADDR": HOST, "MASTER_PORT": str(store.port), "TORCHELASTIC_USE_AGENT_STORE": str(True)}
    shared |= {"WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2"}
    pipes = [context.Pipe(duplex=False) for _ in range(2)]
    processes = [context.Process(target=_report, args=(work, rank, shared, pipe[1])) for rank, pipe in enumerate(pipes)]
    try:
        for process in processes:
            process.start()
        said = [receiver.recv() if receiver.poll(PATIENCE_SECONDS) else (False, "no answer") for receiver, _ in pipes]
    finally:
        for process in processes:
            process.kill()
            process.join()
    assert all(went_well for went_well, _ in said), "\n".join(text for went_well, text in said if not went_well)
    return [result for _, result in said]


def _report(work: Callable[[int], Any], rank: int, shared: Mapping[str, str], to_parent: Connection) -> None:
    torch.set_num_threads(1)
    os.environ.update(shared, RANK=str(rank), LOCAL_RANK=str(rank))
    AcceleratorState._reset_state(reset_partial_state=True)  # of a training in the parent
    GradientState._reset_state()
    try:
        said = True, work(rank)
    except BaseException:
        said = False, traceback.format_exc()
    to_parent.send(said)
