"""Reading from senders that may be silent, slow or endless: a thread of its own reads, and its user waits only so long.

A socket's timeout cannot do that: it begins anew with every byte, of headers and chunk sizes too.
"""

import queue
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from types import TracebackType
from typing import Any

BLOCK = 1 << 20  # bytes
BLOCKS_AHEAD = 4
CHECK_SECONDS = 0.2


@dataclass(frozen=True)
class Patience:
    """How long a sender is waited for."""

    silence: float = 60.0
    """Seconds without a byte, before the first one too."""
    period: float = 60.0
    """Seconds over which the mean speed is taken."""
    slowest: int = 4096
    """Bytes per second, on average over each period."""


class TimedReader:
    """Reads a source in a thread of its own, from its opening on. Ends it when it is left; the thread ends by itself.

    Args:
        open_source: opens what is read; called in the thread.
    """

    def __init__(self, open_source: Callable[[], AbstractContextManager[Any]], patience: Patience) -> None:
        self._open = open_source
        self._patience = patience
        self._items: queue.Queue[Any] = queue.Queue(BLOCKS_AHEAD)
        self._left = threading.Event()
        self._waited = self._received = 0.0  # in the present period

    def __enter__(self) -> "TimedReader":
        threading.Thread(target=self._read, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._left.set()

    def source(self) -> Any:
        """What was opened, for its headers; to be asked once, before the blocks.

        Raises:
            TimeoutError: it takes too long.
            Exception: whatever opening it raised.
        """
        return self._next()

    def blocks(self) -> Iterator[bytes]:
        """Yield what is read until the source ends.

        Raises:
            TimeoutError: the sender is silent or too slow.
            Exception: whatever reading raised.
        """
        while block := self._next():
            self._received += len(block)
            self._check_speed()
            yield block

    def _next(self) -> Any:
        """The next item of the thread; only the time that is spent waiting for it counts."""
        start = time.monotonic()
        try:
            item = self._items.get(timeout=self._patience.silence)
        except queue.Empty:
            raise TimeoutError(f"nothing came for {self._patience.silence:g} s") from None
        self._waited += time.monotonic() - start
        if isinstance(item, TimeoutError):  # the source's own patience may be the first to end
            raise TimeoutError(f"nothing came for {self._patience.silence:g} s") from item
        if isinstance(item, Exception):
            raise item
        return item

    def _check_speed(self) -> None:
        if self._waited < self._patience.period:
            return
        speed = self._received / self._waited
        if speed < self._patience.slowest:
            raise TimeoutError(f"only {speed:,.0f} bytes per second came, fewer than {self._patience.slowest:,}")
        self._waited = self._received = 0.0

    def _read(self) -> None:
        try:
            with self._open() as source:
                self._hand_over(source)
                read = getattr(source, "read1", source.read)  # read() would wait for a whole block
                while not self._left.is_set():
                    block = read(BLOCK)
                    self._hand_over(block)
                    if not block:
                        return
        except Exception as error:
            self._hand_over(error)

    def _hand_over(self, item: Any) -> None:
        while not self._left.is_set():
            try:
                self._items.put(item, timeout=CHECK_SECONDS)
                return
            except queue.Full:
                continue
