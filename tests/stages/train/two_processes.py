"""Work done by two processes that find each other as those of a training do.

They are forked from a server that has imported everything once, and not from the test's own process: what ran in it
before may have started threads of autograd, with which a forked process cannot differentiate.
"""

import multiprocessing
import os
import traceback
from collections.abc import Callable, Mapping
from multiprocessing.connection import Connection
from typing import Any

import cloudpickle
import torch
from torch.distributed import TCPStore

HOST = "127.0.0.1"
PATIENCE_SECONDS = 300  # on a busy machine


def in_two_processes(work: Callable[[int], Any]) -> list[Any]:
    """Let two processes work, and return what each has returned, by its rank.

    Args:
        work: told the rank; it and what it returns are pickled.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["stages.train.processes.job"])
    pickled = cloudpickle.dumps(work)
    store = TCPStore(HOST, 0, is_master=True, wait_for_workers=False)
    shared = {"MASTER_ADDR": HOST, "MASTER_PORT": str(store.port), "TORCHELASTIC_USE_AGENT_STORE": str(True)}
    shared |= {"WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2"}
    pipes = [context.Pipe(duplex=False) for _ in range(2)]
    processes = [
        context.Process(target=_report, args=(pickled, rank, shared, pipe[1])) for rank, pipe in enumerate(pipes)
    ]
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


def _report(work: bytes, rank: int, shared: Mapping[str, str], to_parent: Connection) -> None:
    torch.set_num_threads(1)
    os.environ.update(shared, RANK=str(rank), LOCAL_RANK=str(rank))
    try:
        said = True, cloudpickle.loads(work)(rank)
    except BaseException:
        said = False, traceback.format_exc()
    to_parent.send(said)
