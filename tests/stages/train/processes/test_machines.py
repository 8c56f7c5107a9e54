"""Machines of one training that tell each other how they fare: here each is a thread, over a real store."""

import socket
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest

from comat_core.support.errors import UserError
from stages.train.processes import machines as machines_module
from stages.train.processes.machines import MachineLostError, Machines, Meeting, met

Work = Callable[[Machines], object]


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machines_module, "BEAT_SECONDS", 0.05)
    monkeypatch.setattr(machines_module, "LOST_SECONDS", 3.0)
    monkeypatch.setattr(machines_module, "POLL_SECONDS", 0.02)


@pytest.fixture
def endpoint() -> str:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{found.getsockname()[1]}"


def meet(endpoint: str, works: list[Work], *, static: bool = True, wait: int = 60) -> list[Future[Any]]:
    """Let each machine do its work, and wait for all."""

    def run(rank: int, work: Work) -> object:
        meeting = Meeting(endpoint, len(works), rank if static else None, "127.0.0.1", wait)
        with met(meeting) as machines:
            return work(machines)

    with ThreadPoolExecutor(len(works)) as pool:
        return [pool.submit(run, rank, work) for rank, work in enumerate(works)]


def wait_for_ever(machines: Machines) -> None:
    while True:
        machines.check()
        time.sleep(0.02)


@pytest.mark.parametrize("static", [True, False])
def test_they_meet_and_the_first_tells_the_others(endpoint: str, static: bool) -> None:
    def work(machines: Machines) -> tuple[int, str, set[str]]:
        if machines.is_first:
            machines.tell("job", "sweep")
        return machines.rank, machines.hear("job"), set(machines.workers_store)

    found = [one.result() for one in meet(endpoint, [work, work], static=static)]
    assert sorted(found) == [(rank, "sweep", {"MASTER_ADDR", "MASTER_PORT"}) for rank in (0, 1)]


def test_who_is_done_waits_for_the_others(endpoint: str) -> None:
    ended: list[int] = []

    def slow(machines: Machines) -> None:
        time.sleep(1)
        ended.append(machines.rank)

    meet(endpoint, [lambda _: None, slow])
    assert ended == [1]


def test_a_failure_is_told_on_every_machine_in_its_own_words(endpoint: str) -> None:
    def fail(_: Machines) -> None:
        raise UserError("the cup is empty", "shelf 3", "fill it")

    first, second, third = meet(endpoint, [wait_for_ever, fail, wait_for_ever])
    for other in (first, third):
        with pytest.raises(MachineLostError, match=r"machine 2 of 3 has ended: the cup is empty \(shelf 3\): fill it"):
            other.result()
    with pytest.raises(UserError):
        second.result()


def test_a_machine_that_falls_silent_is_lost_to_the_others(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def fall_silent(machines: Machines) -> None:
        time.sleep(0.3)
        machines.leave()
        monkeypatch.setattr(machines, "end", lambda: None)

    first, _ = meet(endpoint, [wait_for_ever, fall_silent])
    with pytest.raises(MachineLostError, match="machine 2 of 2 has not been heard of for 3 s"):
        first.result()


def test_a_machine_that_starts_anew_ends_itself_and_what_others_began_without_it(endpoint: str) -> None:
    begun, restarted = threading.Event(), threading.Event()
    refused: list[BaseException] = []

    def first(machines: Machines) -> None:
        begun.set()
        wait_for_ever(machines)

    def second(machines: Machines) -> None:
        begun.wait()
        time.sleep(0.3)
        try:
            Machines(machines._handler, machines._handler.next_rendezvous(), _meeting(endpoint)).begin()
        except UserError as error:
            refused.append(error)
        restarted.set()
        machines._token = "another"
        wait_for_ever(machines)

    found = meet(endpoint, [first, second])
    assert "machine 2 of 2 met the others before" in str(refused[0])
    with pytest.raises(MachineLostError, match="machine 2 of 2 was started anew"):
        found[0].result()


def test_others_that_never_come_are_told_in_one_line(endpoint: str) -> None:
    never = pytest.raises(UserError, match=r"the other machines were not met: .*start all 2 within 1 s")
    with never, met(Meeting(endpoint, 2, 0, None, 1)):
        pass


def _meeting(endpoint: str) -> Meeting:
    return Meeting(endpoint, 2, 1, "127.0.0.1", 60)
