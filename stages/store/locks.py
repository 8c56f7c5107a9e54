"""A lease on a piece of work in the store, so that two runs at once do it once.

The lease is a file made by exclusive creation and renewed while its holder lives. Works on every file system, without
a lock server. Nobody's clock is compared with another's: a lease has run out when somebody who waits for it has seen it
unrenewed for long enough, or at once when its process, in the waiter's own PID namespace and boot, is gone. One that
cannot be read has run out too.

A holder that stood still for so long that another run took its lease over notices that when it goes on: it neither
renews the lease nor writes what the lease protects.
"""

import logging
import threading
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress

from pydantic import BaseModel, ConfigDict

from comat_core.support.errors import UserError
from stages.plan.digests import digest_bytes
from stages.store.amended_files import amend
from stages.store.filesystem import Folder
from stages.store.lease_holders import LARGEST_LEASE, Holder

logger = logging.getLogger("comat")

LEASE_SECONDS = 60.0
RENEWAL_SECONDS = 15.0
POLL_SECONDS = 0.5
UNREADABLE_SECONDS = 2.0
"""A lease that cannot be read may be one that is just being written, on disks that know no better way."""
CONFIRMED_SECONDS = 2.0
"""A lease that was held so recently needs no look at the store: nobody takes one over so soon."""


class LeaseLostError(UserError):
    """Somebody else holds what this process thought it held."""

    def __init__(self, where: str) -> None:
        super().__init__(
            "another run has taken this work over, because this one stood still for too long",
            where,
            "let the other one finish; the same command then goes on from there",
        )
        self.args = (where,)  # what it is made from again in another process


class Claim(BaseModel):
    """Which lease is held, and how that is told from another's: what other processes of the same work are given."""

    model_config = ConfigDict(frozen=True)

    folder: str  # URL
    name: str
    token: str


class Lease:
    """A lease that is held, as long as nobody has taken it over."""

    def __init__(self, claim: Claim) -> None:
        self.claim = claim
        self._folder = Folder(claim.folder)
        self._confirmed = _time_with_sleep()
        self._lost = threading.Event()

    @property
    def is_lost(self) -> bool:
        """Whether somebody else is known to have taken it over."""
        return self._lost.is_set()

    def is_held(self) -> bool:
        """Whether nobody has taken it over, asked of the store unless that was asked a moment ago."""
        if _time_with_sleep() - self._confirmed > CONFIRMED_SECONDS:
            self._note(self._is_found)
        return not self.is_lost

    def check(self) -> None:
        """Make sure that the lease is held before something that it protects is written.

        Raises:
            LeaseLostError: somebody else holds it.
        """
        if not self.is_held():
            raise LeaseLostError(f"{self.claim.folder}/{self.claim.name}")

    def renew(self) -> None:
        """Say that the holder lives, if it still is the holder."""
        self._note(self._is_renewed)

    def give_back(self) -> None:
        """Remove the file if it is still this holder's."""
        with suppress(UserError, OSError):  # who cannot remove it lets it run out
            if self._is_found():
                self._folder.remove(self.claim.name)

    def _note(self, ask: Callable[[], bool]) -> None:
        asked = _time_with_sleep()
        # A store that is full or away for a while takes nothing over; the work itself says what is wrong with it.
        with suppress(UserError, OSError):
            if ask():
                self._confirmed = asked
            else:
                self._lost.set()

    def _is_found(self) -> bool:
        found = _read(self._folder, self.claim.name)
        return found is not None and self._is_ours(found)

    def _is_renewed(self) -> bool:
        # Asked once more afterwards: somebody who took the lease over at that very moment has put another in its place.
        return amend(self._folder, self.claim.name, self._renewed, limit=LARGEST_LEASE) and self._is_found()

    def _renewed(self, found: bytes) -> bytes | None:
        holder = Holder.parse(found)
        return holder.renewed().as_json() if holder is not None and self._is_ours(found) else None

    def _is_ours(self, found: bytes) -> bool:
        holder = Holder.parse(found)
        return holder is not None and holder.token == self.claim.token


@contextmanager
def lease(folder: Folder, name: str, on_wait: Callable[[], None] | None = None) -> Iterator[Lease]:
    """Hold the lease `name` (a file name inside `folder`) while the block runs; wait for it first.

    Args:
        on_wait: called once when somebody else holds the lease.

    Raises:
        LeaseLostError: the block failed, after the lease had been lost.
    """
    holder, watch = Holder.of_this_process(), _Watch(folder, name)
    while not _take(folder, name, holder, watch):
        if on_wait is not None:
            on_wait()
            on_wait = None
        time.sleep(POLL_SECONDS)
    held, released = Lease(Claim(folder=folder.url, name=name, token=holder.token)), threading.Event()
    renewal = threading.Thread(target=_keep, args=(held, released), daemon=True)
    renewal.start()
    try:
        yield held
    except Exception:
        held.check()  # whatever failed, failed because somebody else was at work
        raise
    finally:
        released.set()
        renewal.join()
        held.give_back()


def live_ones(folder: Folder, names: Collection[str]) -> set[str]:
    """Which of some leases somebody holds. Where only time can tell, this takes up to `LEASE_SECONDS` for all."""
    live: set[str] = set()
    watched = {name: _Watch(folder, name) for name in names}
    while watched:
        for name, watch in list(watched.items()):
            found = _read(folder, name)
            if found is None or watch.has_run_out(found):
                del watched[name]
            elif watch.saw_renewal or _is_of_living_process(found):
                live.add(name)
                del watched[name]
        if watched:
            time.sleep(POLL_SECONDS)
    return live


def is_live(folder: Folder, name: str) -> bool:
    """Whether somebody holds a lease. Where only time can tell, this takes up to `LEASE_SECONDS`."""
    return bool(live_ones(folder, [name]))


class _Watch:
    """For how long somebody has watched the same lease without a renewal."""

    def __init__(self, folder: Folder, name: str) -> None:
        self._where = f"{folder.url}/{name}"
        self._seen: bytes | None = None
        self._looked = 0.0
        self._watched = 0.0  # seconds
        self._blocked_since: float | None = None
        self._is_told = False
        self.saw_renewal = False

    def has_run_out(self, content: bytes) -> bool:
        """Note what the lease says now, and tell whether its holder is gone."""
        now = time.monotonic()
        if content == self._seen:
            # Who stood still together with the holder has not watched it: that time counts for one look only.
            self._watched += min(now - self._looked, RENEWAL_SECONDS)
        else:
            self.saw_renewal = self._seen is not None
            self._seen, self._watched, self._blocked_since = content, 0.0, None
        self._looked = now
        holder = Holder.parse(content)
        if holder is not None:
            return holder.is_known_dead() or self._watched > LEASE_SECONDS
        if self._watched > UNREADABLE_SECONDS and not self._is_told:
            self._is_told = True
            logger.warning("a lease cannot be read and counts as run out: %s", self._where)
        return self._watched > UNREADABLE_SECONDS

    def is_blocked_for_good(self) -> bool:
        """Note that somebody else is taking the lease over, and tell whether that has gone on for too long."""
        if self._blocked_since is None:
            self._blocked_since = self._watched
        return self._watched - self._blocked_since > LEASE_SECONDS


def _take(folder: Folder, name: str, holder: Holder, watch: _Watch) -> bool:
    if folder.create(name, holder.as_json()):
        return True
    found = _read(folder, name)
    return found is not None and watch.has_run_out(found) and _take_over(folder, name, holder, watch, found)


def _take_over(folder: Folder, name: str, holder: Holder, watch: _Watch, found: bytes) -> bool:
    """Replace a lease that has run out. Of several that see the same one, the one that creates a second file may."""
    right = f"{name}.{digest_bytes(found)[:16]}.taken-over"
    if not folder.create(right, b""):
        if watch.is_blocked_for_good():  # whoever created it was killed right then
            folder.remove(right)
        return False
    try:
        if _read(folder, name) != found:
            return False
        folder.write(name, holder.as_json())
        return True
    finally:
        folder.remove(right)


def _read(folder: Folder, name: str) -> bytes | None:
    """What the lease file holds; None if there is none, and nothing for what is no plain file."""
    try:
        return folder.read(name, limit=LARGEST_LEASE)
    except FileNotFoundError:
        return b"" if folder.has(name) else None


def _is_of_living_process(content: bytes) -> bool:
    holder = Holder.parse(content)
    return holder is not None and holder.is_known_alive()


def _keep(held: Lease, released: threading.Event) -> None:
    while not held.is_lost and not released.wait(RENEWAL_SECONDS):
        # Whatever a driver raises, the next attempt may succeed; a holder that stops renewing would lose the lease.
        with suppress(Exception):
            held.renew()


def _time_with_sleep() -> float:
    """Seconds that go on while the machine sleeps, as they do for whoever waits on another one."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))
