"""SIGTERM asks a training run to save its state and end; the same command goes on from there."""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_blocks: dict[int, list[int]] = {}
"""The notes of all `termination_noticed` blocks under way, in any thread."""


class TrainingStopped(SystemExit):
    """A signal asked the run to end; its state is saved, and the same command goes on from there."""


@contextmanager
def termination_noticed() -> Iterator[list[int]]:
    """Within the block SIGTERM only leaves a note, in the returned list; afterwards it acts as before.

    Signals reach the main thread alone: a block in another thread needs `termination_passed_on` around it there.
    """
    noticed: list[int] = []
    with termination_passed_on():
        _blocks[id(noticed)] = noticed
        try:
            yield noticed
        finally:
            del _blocks[id(noticed)]


@contextmanager
def termination_passed_on() -> Iterator[None]:
    """Pass SIGTERM on to the `termination_noticed` blocks of all threads; while there is none, it acts as before.

    Does nothing outside the main thread.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def pass_on(number: int, _: FrameType | None) -> None:
        for noticed in list(_blocks.values()):
            noticed.append(number)
        if not _blocks:
            signal.signal(number, previous)
            os.kill(os.getpid(), number)

    previous = signal.signal(signal.SIGTERM, pass_on)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)
