"""Who holds a lease: what a process says of itself, and whether another one here can tell that it is gone."""

import json
import os
import secrets
import socket
from dataclasses import asdict, dataclass, fields, replace
from functools import cache
from pathlib import Path
from typing import ClassVar


@dataclass(frozen=True)
class Holder:
    """A process that holds a lease.

    A PID means something only among processes of one PID namespace since one boot: containers on a host's network
    share its name, not its PIDs.
    """

    LARGEST: ClassVar[int] = 4096
    """Bytes of a lease file; what is longer was not written here."""

    token: str
    host: str
    boot: str  # identity of the machine's boot; empty where it cannot be told
    namespace: str  # of process ids; empty where it cannot be told
    process: int
    started: str  # when the process started, in the kernel's ticks, so that a PID used again is told apart
    renewals: int = 0

    @classmethod
    def of_this_process(cls) -> "Holder":
        boot, namespace = _machine()
        process = os.getpid()
        return cls(secrets.token_hex(8), socket.gethostname(), boot, namespace, process, _start_of(process) or "")

    @classmethod
    def parse(cls, content: bytes) -> "Holder | None":
        """What a lease file says; None if it is none that was written here."""
        try:
            value = json.loads(content)
        except (ValueError, RecursionError):
            return None
        expected = {field.name: field.type for field in fields(cls)}
        if not isinstance(value, dict) or {name: type(part) for name, part in value.items()} != expected:
            return None
        return cls(**value)

    def as_json(self) -> bytes:
        return json.dumps(asdict(self)).encode()

    def renewed(self) -> "Holder":
        """The same holder, a moment later: whoever waits sees that the lease says something else."""
        return replace(self, renewals=self.renewals + 1)

    def is_known_dead(self) -> bool:
        """Whether this process can tell that the holder is gone; False when it cannot."""
        return self._is_of_here() and not self._lives()

    def is_known_alive(self) -> bool:
        """Whether this process can tell that the holder lives; False when it cannot."""
        return self._is_of_here() and self._lives()

    def _is_of_here(self) -> bool:
        return bool(self.boot and self.namespace) and (self.boot, self.namespace) == _machine()

    def _lives(self) -> bool:
        return _start_of(self.process) == self.started


@cache
def _machine() -> tuple[str, str]:
    """The boot's identity and the PID namespace's; empty on systems without /proc."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return boot, str(Path("/proc/self/ns/pid").readlink())
    except OSError:
        return "", ""


def _start_of(process: int) -> str | None:
    """When a process started, in ticks since the boot; None if there is no such process."""
    try:
        status = Path(f"/proc/{process}/stat").read_text()
    except OSError:
        return None
    fields = status.rpartition(")")[2].split()  # the name before it may hold anything
    return None if fields[0] == "Z" else fields[19]
