"""Who holds a lease: what a process says of itself, and whether another one here can tell that it is gone."""

import os
import secrets
import socket
from functools import cache
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

LARGEST_LEASE = 4096
"""Bytes of a lease file; what is longer was not written here."""


class Holder(BaseModel):
    """A process that holds a lease.

    A PID means something only among processes of one PID namespace since one boot: containers on a host's network
    share its name, not its PIDs.
    """

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")

    token: str
    host: str  # for people who wonder
    process: Annotated[int, Field(ge=1, lt=2**31)]
    boot: str = ""  # identity of the machine's boot; empty where it cannot be told
    namespace: str = ""  # of process ids; empty where it cannot be told
    started: str = ""  # when the process started, in the kernel's ticks, so that a PID used again is told apart
    renewal: str = ""  # another at every renewal, and of one length, so that who reads meanwhile reads no half of it
    renewed_at: float | None = None  # of earlier versions, which may still be at work

    @classmethod
    def of_this_process(cls) -> "Holder":
        boot, namespace = _machine()
        return cls(
            token=_new_token(),
            host=socket.gethostname(),
            process=os.getpid(),
            boot=boot,
            namespace=namespace,
            started=_start_of(os.getpid()) or "",
            renewal=_new_token(),
        )

    @classmethod
    def parse(cls, content: bytes) -> "Holder | None":
        """What a lease file says; None if it is none that was written here."""
        try:
            return cls.model_validate_json(content)
        except ValidationError:
            return None

    def as_json(self) -> bytes:
        return self.model_dump_json(exclude_none=True).encode()

    def renewed(self) -> "Holder":
        """The same holder, a moment later: whoever waits sees that the lease says something else."""
        return self.model_copy(update={"renewal": _new_token()})

    def is_known_dead(self) -> bool:
        """Whether this process can tell that the holder is gone; False when it cannot."""
        return self._is_of_here() and not self._lives()

    def is_known_alive(self) -> bool:
        """Whether this process can tell that the holder lives; False when it cannot."""
        return self._is_of_here() and self._lives()

    def _is_of_here(self) -> bool:
        return bool(self.boot and self.namespace) and (self.boot, self.namespace) == _machine()

    def _lives(self) -> bool:
        try:
            os.kill(self.process, 0)
        except ProcessLookupError:
            return False
        except PermissionError:  # another user's; where /proc hides those, that it exists is all there is to know
            pass
        started = _start_of(self.process)
        return started is None or started == self.started


def _new_token() -> str:
    return secrets.token_hex(8)


@cache
def _machine() -> tuple[str, str]:
    """The boot's identity and the PID namespace's; empty on systems without /proc."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return boot, str(Path("/proc/self/ns/pid").readlink())
    except OSError:
        return "", ""


def _start_of(process: int) -> str | None:
    """When a process started, in ticks since the boot; empty if it has ended, None if /proc does not show it."""
    try:
        status = Path(f"/proc/{process}/stat").read_text()
    except OSError:
        return None
    fields = status.rpartition(")")[2].split()  # the name before it may hold anything
    return "" if fields[0] in "ZX" else fields[19]
