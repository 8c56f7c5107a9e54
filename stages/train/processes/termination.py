"""SIGTERM asks a training run to save its state and end; the same command goes on from there."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager


class TrainingStopped(SystemExit):
    """A signal asked the run to end; its state is saved, and the same command goes on from there."""


@contextmanager
def termination_noticed() -> Iterator[list[int]]:
    """Within the block SIGTERM only leaves a note, in the returned list; afterwards it acts as before.

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
        signal.signal(signal.SIGTERM, previous)
