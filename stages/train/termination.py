"""SIGTERM asks a training run to save its state and end; the same command goes on from there."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager


class TrainingStopped(SystemExit):
    """A signal asked the run to end; its state is saved, and the same command goes on from there."""


@contextmanager
def termination_noticed() -> Iterator[list[int]]:
    """Within the context SIGTERM only leaves a note, in the returned list; afterwards it acts as before.

    Signals reach the main thread alone; a worker thread runs without this and is killed like any other.
    """
    noticed: list[int] = []
    try:
        previous = signal.signal(signal.SIGTERM, lambda number, _: noticed.append(number))
    except ValueError:  # not in the main thread
        yield noticed
        return
    try:
        yield noticed
    finally:
        signal.signal(signal.SIGTERM, previous)
