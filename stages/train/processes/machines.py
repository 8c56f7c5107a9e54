"""The machines of one training: how they meet, what they tell each other, and how each notices that one is gone.

They meet by torchrun's own rendezvous, and what they tell each other stands in the key-value store that it gives them.
Every machine says there that it lives. One that stays silent, fails, or is started anew in the middle ends the training
on all others: the processes of a machine that is gone would be waited for in vain.
"""

import json
import logging
import secrets
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from comat_core.support.errors import UserError, first_line

if TYPE_CHECKING:
    from torch.distributed import Store
    from torch.distributed.elastic.rendezvous import RendezvousHandler, RendezvousInfo

BEAT_SECONDS = 1.0
LOST_SECONDS = 30.0
"""A machine that is not heard of for so long is gone."""
POLL_SECONDS = 0.2
RUN_ID = "comat"
DONE = "done"


class MachineLostError(RuntimeError):
    """Another machine of the training has failed, or is gone."""


@dataclass(frozen=True)
class Meeting:
    """Where, and with how many, a machine meets the others.

    Attributes:
        endpoint: HOST:PORT of the store; one of the machines opens it there, with a static rendezvous the first.
        machines: how many there are.
        rank: of this machine, from 0: the rendezvous is static. None: machines find their ranks themselves, by c10d.
        address: of this machine for the others; None for its host name.
        wait_seconds: how long the others are waited for.
    """

    endpoint: str
    machines: int
    rank: int | None
    address: str | None
    wait_seconds: int


@contextmanager
def met(meeting: Meeting) -> Iterator["Machines"]:
    """Wait for the other machines, and keep in touch with them while the block runs.

    A block that fails is told to them. One that ends well ends when theirs have.

    Raises:
        UserError: they were not met, or are still at the work that they last met for.
        MachineLostError: one of them has failed, or is gone.
    """
    machines = Machines(*_rendezvous(meeting), meeting)
    try:
        machines.begin()
        yield machines
        machines.end()
    except BaseException as error:
        machines.fail(error)
        raise
    finally:
        machines.leave()


class Machines:
    """All machines of a training, as one of them sees them. Told by the store, in one value of each."""

    def __init__(self, handler: "RendezvousHandler", found: "RendezvousInfo", meeting: Meeting) -> None:
        self._handler = handler  # which holds the store
        self.rank, self.count = found.rank, found.world_size
        self._endpoint = meeting.endpoint
        self._store: Store = found.store
        self._workers_store = found.bootstrap_store_info
        self._token = secrets.token_hex(8)
        self._said = ""
        self._others = {rank: _Other(_name(rank, self.count)) for rank in range(self.count) if rank != self.rank}
        self._problem: str | None = None
        self._left = threading.Event()
        self._beating = threading.Thread(target=self._keep_in_touch, daemon=True)

    @property
    def is_first(self) -> bool:
        """Whether this machine writes what training makes."""
        return self.rank == 0

    @property
    def name(self) -> str:
        return _name(self.rank, self.count)

    @property
    def workers_store(self) -> dict[str, str]:
        """What training processes find each other by, as torchrun tells them in their environment."""
        store = self._workers_store
        assert store is not None
        return {"MASTER_ADDR": store.master_addr, "MASTER_PORT": str(store.master_port)}

    @property
    def problem(self) -> str | None:
        """Why the training cannot go on, once another machine has failed or is gone."""
        return self._problem

    def begin(self) -> None:
        """Say that this machine is there.

        Raises:
            UserError: it has been there before: this is the store of a training that has not ended yet.
        """
        if self._store.check([f"machine/{self.rank}"]):
            what = f"{self.name} met the others before, and they have not ended yet"
            raise UserError(what, self._endpoint, "start again when they have; a job's controller does so by itself")
        self._beating.start()

    def tell(self, what: str, value: str) -> None:
        """Leave a message for all other machines."""
        self._store.set(what, value)

    def hear(self, what: str) -> str:
        """Wait for a message.

        Raises:
            MachineLostError: another machine has failed, or is gone.
        """
        while not self._is_told(what):
            self.check()
            time.sleep(POLL_SECONDS)
        return self._store.get(what).decode()

    def check(self) -> None:
        """Make sure that all others are there.

        Raises:
            MachineLostError: one has failed, or is gone.
        """
        if self._problem is not None:
            raise MachineLostError(self._problem)

    def wait_for_problem(self) -> None:
        """Find out what has happened to the others, whose processes no longer answer this machine's.

        Raises:
            MachineLostError: one has failed, or is gone.
        """
        end = time.monotonic() + LOST_SECONDS + 10 * BEAT_SECONDS
        while time.monotonic() < end:
            self.check()
            time.sleep(POLL_SECONDS)

    def end(self) -> None:
        """Say that this machine is done, and wait until all are.

        Raises:
            MachineLostError: one of them has failed, or is gone.
        """
        self._said = DONE
        while not all(other.said == DONE for other in self._others.values()):
            self.check()
            time.sleep(POLL_SECONDS)
        # Who holds the store leaves last, or the others could not see that all are done.
        end = time.monotonic() + LOST_SECONDS
        try:
            self._store.add("left", 1)
            while self._store.add("left", 0) < self.count and time.monotonic() < end:
                time.sleep(POLL_SECONDS)
        except RuntimeError:  # it has left
            return

    def fail(self, error: BaseException) -> None:
        """Tell the others why this machine ends, and give them a moment to hear it."""
        if self._problem is None and self._beating.is_alive():
            self._said = " ".join(str(error).split()) or type(error).__name__
            time.sleep(3 * BEAT_SECONDS)

    def leave(self) -> None:
        """Say nothing any more."""
        self._left.set()
        if self._beating.is_alive():
            self._beating.join()

    def _keep_in_touch(self) -> None:
        beat = 0
        while not self._left.wait(BEAT_SECONDS) and self._problem is None:
            beat += 1
            state = {"token": self._token, "beat": beat, "said": self._said}
            try:
                self._store.set(f"machine/{self.rank}", json.dumps(state))
                for rank, other in self._others.items():
                    key = f"machine/{rank}"
                    other.look(self._store.get(key).decode() if self._store.check([key]) else None)
            except (RuntimeError, OSError) as error:
                self._problem = f"the rendezvous at {self._endpoint} cannot be reached any more: {first_line(error)}"
                return
            self._problem = next((other.problem for other in self._others.values() if other.problem), None)

    def _is_told(self, what: str) -> bool:
        try:
            return self._store.check([what])
        except (RuntimeError, OSError):
            time.sleep(2 * BEAT_SECONDS)  # in which it is noticed, and told, that the store is gone
            self.check()
            raise


class _Other:
    """What is known of another machine."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._seen: str | None = None
        self._seen_at = time.monotonic()
        self._token: str | None = None
        self.said = ""
        self.problem: str | None = None

    def look(self, state: str | None) -> None:
        """Note what stands in the store."""
        now = time.monotonic()
        if state is not None and state != self._seen:
            told = json.loads(state)
            if self._token not in (None, told["token"]):
                self.problem = f"{self._name} was started anew in the middle of the training"
                return
            self._seen, self._seen_at, self._token, self.said = state, now, told["token"], told["said"]
        if self.said not in ("", DONE):
            self.problem = f"{self._name} has ended: {self.said}"
        elif self.said != DONE and now - self._seen_at > LOST_SECONDS:
            self.problem = f"{self._name} has not been heard of for {LOST_SECONDS:.0f} s"


def _name(rank: int, count: int) -> str:
    return f"machine {rank + 1} of {count}"


def _rendezvous(meeting: Meeting) -> "tuple[RendezvousHandler, RendezvousInfo]":
    """Meet the others. The store lives as long as the handler.

    Raises:
        UserError: they were not there in time, or cannot be reached.
    """
    from torch.distributed.elastic.rendezvous import RendezvousError, RendezvousParameters
    from torch.distributed.elastic.rendezvous.registry import get_rendezvous_handler

    for name in ("torch.distributed.elastic", "torch.distributed.nn"):
        logging.getLogger(name).setLevel(logging.ERROR)
    wait = meeting.wait_seconds
    ranked = {} if meeting.rank is None else {"rank": meeting.rank}
    parameters = RendezvousParameters(
        backend="c10d" if meeting.rank is None else "static",
        endpoint=meeting.endpoint,
        run_id=RUN_ID,
        min_nodes=meeting.machines,
        max_nodes=meeting.machines,
        local_addr=meeting.address,
        timeout=wait,
        join_timeout=wait,
        **ranked,
    )
    try:
        handler = get_rendezvous_handler(parameters)
        found = handler.next_rendezvous()
    except (RendezvousError, RuntimeError, OSError, ValueError) as error:
        what = f"the other machines were not met: {first_line(error)}"
        advice = f"start all {meeting.machines} within {wait} s, with one address that every one of them can reach"
        raise UserError(what, meeting.endpoint, advice) from error
    return handler, found
