"""SIGTERM asks a training run to save its state and end; the same command goes on from there."""

import multiprocessing
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any


class TrainingStopped(SystemExit):
    """A signal asked the run to end; its state is saved, and the same command goes on from there."""


@contextmanager
def termination_noticed() -> Iterator[list[int]]:
    """Within the block SIGTERM only leaves a note, in the returned list; afterwards it acts as before, in a pool's
    worker that has noticed one from the next but one on.

    Outside a process's main thread, which alone can handle signals, no note is left.
    """
    noticed: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield noticed
        return
    previous = signal.signal(signal.SIGTERM, lambda number, _: noticed.append(number))
    try:
        yield noticed
    finally:
        in_pool = multiprocessing.parent_process() is not None
        # A pool whose first worker has ended asks the others once more, which must not cut short what was asked first.
        signal.signal(signal.SIGTERM, _ignored_once(previous) if noticed and in_pool else previous)


def _ignored_once(previous: Any) -> Callable[[int, Any], None]:
    def ignore(_number: int, _frame: Any) -> None:
        signal.signal(signal.SIGTERM, previous)

    return ignore
