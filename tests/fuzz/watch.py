"""Reads what may be damaged, and lets pass what a reader may do with it: read it, or say one line."""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from comat_core.support.errors import UserError

SECONDS = 20.0
"""Longer than any reader takes on a busy machine."""
LONGEST_LINE = 4000  # characters


class HangError(BaseException):
    """A reader does not come to an end; no `Exception`, so that nothing catches it."""


@contextmanager
def at_most(seconds: float) -> Iterator[None]:
    """Interrupt the block after a time, also while it waits for the system."""

    def interrupt(_signal: int, _frame: FrameType | None) -> None:
        raise HangError(f"no end after {seconds} s")

    before = signal.signal(signal.SIGALRM, interrupt)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def told(read: Callable[[], object]) -> str | None:
    """The one line that a reader says, or None if it reads. Anything else it raises is passed on."""
    try:
        with at_most(SECONDS):
            read()
    except UserError as error:
        line = str(error)
        assert "\n" not in line
        assert len(line) < LONGEST_LINE, f"{line[:200]}... has {len(line):,} characters"
        line.encode()  # whoever prints it needs that
        return line
    return None
