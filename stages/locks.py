"""A lease on a piece of work in the store, so that two runs at once do it once.

The lease is a file made by exclusive creation and renewed while its holder lives. One that is not renewed any more, or
whose process on this machine is gone, is taken over. Works on every file system, without a lock server.

Clocks of different machines need not agree for a lease to run out in the end: a waiter also goes by its own clock.
"""

import json
import os
import secrets
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from comat_core.errors import UserError
from stages.filesystem import Folder

LEASE_SECONDS = 60.0
RENEWAL_SECONDS = 15.0
POLL_SECONDS = 0.5


@contextmanager
def lease(folder: Folder, name: str, on_wait: Callable[[], None] | None = None) -> Iterator[None]:
    """Hold the lease `name` (a file name inside `folder`) while the block runs; wait for it first.

    Args:
        on_wait: called once when somebody else holds the lease.
    """
    token = secrets.token_hex(8)
    watch = _Watch()
    while not _take(folder, name, token, watch):
        if on_wait is not None:
            on_wait()
            on_wait = None
        time.sleep(POLL_SECONDS)
    released = threading.Event()
    renewal = threading.Thread(target=_renew, args=(folder, name, token, released), daemon=True)
    renewal.start()
    try:
        yield
    finally:
        released.set()
        renewal.join()
        if _holder(folder, name).get("token") == token:
            folder.remove(name)


class _Watch:
    """How long a waiter has seen the same lease without a renewal."""

    def __init__(self) -> None:
        self._seen: dict | None = None
        self._since = 0.0

    def runs_out(self, holder: dict) -> bool:
        """Note what the lease says now, and tell whether it has said so for too long."""
        if holder != self._seen:
            self._seen, self._since = holder, time.monotonic()
        return time.monotonic() - self._since > LEASE_SECONDS


def _take(folder: Folder, name: str, token: str, watch: _Watch) -> bool:
    if folder.create(name, _content(token)):
        return True
    holder = _holder(folder, name)
    if not _is_abandoned(holder) and not watch.runs_out(holder):
        return False
    # Of several that see an abandoned lease one wins: the last to write it is the one that reads itself back.
    folder.write(name, _content(token))
    time.sleep(POLL_SECONDS)
    return _holder(folder, name).get("token") == token


def _renew(folder: Folder, name: str, token: str, released: threading.Event) -> None:
    while not released.wait(RENEWAL_SECONDS):
        # A disk that is full for a while must not end the renewals; the work itself says what is wrong.
        with suppress(UserError):
            folder.write(name, _content(token))


def _content(token: str) -> bytes:
    holder = {"token": token, "host": socket.gethostname(), "process": os.getpid(), "renewed_at": time.time()}
    return json.dumps(holder).encode()


def _holder(folder: Folder, name: str) -> dict:
    """What the lease says; nothing if it is gone, or if its holder was killed while making it."""
    try:
        return json.loads(folder.read(name))
    except (OSError, ValueError):
        return {}


def _is_abandoned(holder: dict) -> bool:
    if time.time() - holder.get("renewed_at", time.time()) > LEASE_SECONDS:
        return True
    return holder.get("host") == socket.gethostname() and not _is_alive(holder["process"])


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
