"""A lease on a piece of work in the store, so that two runs at once do it once.

The lease is a file made by exclusive creation and renewed while its holder lives. Works on every file system, without
a lock server. Nobody's clock is compared with another's: a lease runs out when the waiter has seen it unrenewed for
long enough by its own clock, or at once when its process, in the waiter's own PID namespace and boot, is gone. One that
cannot be read counts as run out.
"""

import logging
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from comat_core.support.errors import UserError
from stages.plan.digests import digest_bytes
from stages.store.filesystem import Folder
from stages.store.lease_holders import Holder

logger = logging.getLogger("comat")

LEASE_SECONDS = 60.0
RENEWAL_SECONDS = 15.0
POLL_SECONDS = 0.5
UNREADABLE_SECONDS = 2.0
"""A lease that cannot be read may be one that is just being written."""


class LeaseLostError(UserError):
    """Somebody else holds what this process thought it held: it was paused for longer than a lease lasts."""

    def __init__(self, where: str) -> None:
        super().__init__(
            "another run took this work over while this one was paused",
            where,
            "let the other one finish; the same command then goes on from there",
        )


class Lease:
    """A lease that is held. `check` is for whoever is about to write what it protects."""

    def __init__(self, folder: Folder, name: str, holder: Holder) -> None:
        self._folder, self._name, self._holder = folder, name, holder
        self._lost = threading.Event()

    @property
    def is_lost(self) -> bool:
        return self._lost.is_set()

    def check(self) -> None:
        """Raise LeaseLostError if somebody else has taken the lease over."""
        if self.is_lost:
            raise LeaseLostError(f"{self._folder.url}/{self._name}")

    def renew(self) -> None:
        """Say that the holder lives, if it still is the holder."""
        # A disk that is full or away for a while must not end the renewals; the work itself says what is wrong.
        with suppress(UserError):
            if self._found_token() == self._holder.token:
                self._holder = self._holder.renewed()
                self._folder.write(self._name, self._holder.as_json())
            else:
                self._lost.set()

    def give_back(self) -> None:
        """Remove the file if it is still this holder's."""
        if self._found_token() == self._holder.token:
            self._folder.remove(self._name)

    def _found_token(self) -> str | None:
        found = _read(self._folder, self._name)
        holder = Holder.parse(found) if found is not None else None
        return holder.token if holder else None


@contextmanager
def lease(folder: Folder, name: str, on_wait: Callable[[], None] | None = None) -> Iterator[Lease]:
    """Hold the lease `name` (a file name inside `folder`) while the block runs; wait for it first.

    Args:
        on_wait: called once when somebody else holds the lease.

    Raises:
        LeaseLostError: the lease was lost while the block ran; the block is interrupted.
    """
    holder, watch = Holder.of_this_process(), _Watch(folder, name)
    while not _take(folder, name, holder, watch):
        if on_wait is not None:
            on_wait()
            on_wait = None
        time.sleep(POLL_SECONDS)
    held, released = Lease(folder, name, holder), threading.Event()
    in_main_thread = threading.current_thread() is threading.main_thread()
    renewal = threading.Thread(target=_keep, args=(held, released, in_main_thread), daemon=True)
    renewal.start()
    try:
        yield held
    except KeyboardInterrupt:
        held.check()  # it was the renewal that interrupted the block
        raise
    finally:
        released.set()
        renewal.join()
        held.give_back()
    held.check()


def is_live(folder: Folder, name: str) -> bool:
    """Whether somebody holds a lease. Where only time can tell, this takes up to `LEASE_SECONDS`."""
    watch = _Watch(folder, name)
    while True:
        found = _read(folder, name)
        if found is None or watch.runs_out(found):
            return False
        if watch.renewals or _of_living_process(found):
            return True
        time.sleep(POLL_SECONDS)


def _of_living_process(content: bytes) -> bool:
    holder = Holder.parse(content)
    return holder is not None and holder.is_known_alive()


class _Watch:
    """How long somebody has seen the same lease without a renewal, by the own clock."""

    def __init__(self, folder: Folder, name: str) -> None:
        self._where = f"{folder.url}/{name}"
        self._seen: bytes | None = None
        self._since = 0.0
        self.renewals = 0

    def runs_out(self, content: bytes) -> bool:
        """Note what the lease says now, and tell whether its holder is gone."""
        if content != self._seen:
            self.renewals += self._seen is not None
            self._seen, self._since = content, time.monotonic()
        age, holder = time.monotonic() - self._since, Holder.parse(content)
        if holder is None:
            if age <= UNREADABLE_SECONDS:
                return False
            logger.warning("a lease cannot be read and counts as run out: %s", self._where)
            return True
        return holder.is_known_dead() or age > LEASE_SECONDS


def _take(folder: Folder, name: str, holder: Holder, watch: _Watch) -> bool:
    if folder.create(name, holder.as_json()):
        return True
    found = _read(folder, name)
    if found is None or not watch.runs_out(found):
        return False
    # Of several that see the same abandoned lease, one may replace it: the one that creates this file.
    right = f"{name}.{digest_bytes(found)[:16]}.taken-over"
    if not folder.create(right, b""):
        # Its maker was killed in between if the lease still says the same after another full time.
        with suppress(UserError):
            if watch.runs_out(found) and not _changes(folder, name, found):
                folder.remove(right)
        return False
    try:
        if _read(folder, name) != found:
            return False
        folder.write(name, holder.as_json())
        return True
    finally:
        folder.remove(right)


def _changes(folder: Folder, name: str, content: bytes) -> bool:
    deadline = time.monotonic() + LEASE_SECONDS
    while time.monotonic() < deadline:
        if _read(folder, name) != content:
            return True
        time.sleep(POLL_SECONDS)
    return False


def _read(folder: Folder, name: str) -> bytes | None:
    """What the lease file holds; None if there is none, and nothing for what is no plain file."""
    try:
        return folder.read(name, limit=Holder.LARGEST)
    except FileNotFoundError:
        return b"" if folder.has(name) else None


def _keep(held: Lease, released: threading.Event, in_main_thread: bool) -> None:
    while not released.wait(RENEWAL_SECONDS):
        held.renew()
        if held.is_lost:
            if in_main_thread:  # whatever it does is not to be done any more; a signal ends even a sleep
                signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
            return
