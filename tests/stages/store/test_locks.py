"""Leases: one holder at a time, none for ever."""

import json
import logging
import os
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from comat_core.support.errors import UserError
from stages.store import locks
from stages.store.filesystem import Folder
from stages.store.lease_holders import Holder
from stages.store.locks import LeaseLostError, is_live, lease


def hold(folder: Folder, **changes: Any) -> Holder:
    """Leave a lease behind as another process would: one of another machine unless told otherwise."""
    holder = replace(Holder.of_this_process(), boot="another", namespace="another", **changes)
    folder.write("work.json", holder.as_json())
    return holder


def test_two_threads_take_turns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locks, "POLL_SECONDS", 0.01)
    inside: list[int] = []
    most: list[int] = []

    def work() -> None:
        with lease(Folder(str(tmp_path)), "work.json"):
            inside.append(1)
            most.append(len(inside))
            time.sleep(0.02)
            inside.pop()

    threads = [threading.Thread(target=work) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == [1] * 5
    assert not (tmp_path / "work.json").exists()


def test_lease_is_given_back_after_an_error(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), lease(Folder(str(tmp_path)), "work.json"):
        raise RuntimeError
    assert not (tmp_path / "work.json").exists()


def test_lease_of_a_dead_process_is_taken_over_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locks, "POLL_SECONDS", 0.01)
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    gone = replace(Holder.of_this_process(), process=dead.pid, started="1")
    Folder(str(tmp_path)).write("work.json", gone.as_json())
    started = time.monotonic()
    with lease(Folder(str(tmp_path)), "work.json"):
        assert time.monotonic() - started < 5


@pytest.mark.parametrize("elsewhere", [{"boot": "another"}, {"namespace": "pid:[1]"}])
def test_a_pid_means_nothing_outside_its_namespace_and_boot(elsewhere: dict[str, str]) -> None:
    dead = replace(Holder.of_this_process(), process=2**22 + 1, started="1")
    assert dead.is_known_dead()
    assert not replace(dead, **elsewhere).is_known_dead()


def test_a_pid_that_another_process_has_now_is_no_sign_of_life() -> None:
    assert Holder.of_this_process().is_known_alive()
    assert replace(Holder.of_this_process(), started="1").is_known_dead()


def test_lease_that_is_not_renewed_runs_out_by_the_waiters_own_clock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(locks, "POLL_SECONDS", 0.01)
    monkeypatch.setattr(locks, "LEASE_SECONDS", 0.2)
    hold(Folder(str(tmp_path)))
    started = time.monotonic()
    with lease(Folder(str(tmp_path)), "work.json"):
        assert 0.2 <= time.monotonic() - started < 5


def test_lease_of_a_living_holder_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locks, "POLL_SECONDS", 0.01)
    folder = Folder(str(tmp_path))
    hold(folder)
    waited: list[str] = []

    def notice() -> None:
        waited.append("told")
        folder.remove("work.json")

    with lease(folder, "work.json", on_wait=notice):
        assert waited == ["told"]


def test_holder_renews_its_lease(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locks, "RENEWAL_SECONDS", 0.02)
    with lease(Folder(str(tmp_path)), "work.json"):
        first = json.loads((tmp_path / "work.json").read_bytes())["renewals"]
        deadline = time.monotonic() + 10
        while json.loads((tmp_path / "work.json").read_bytes())["renewals"] == first:
            assert time.monotonic() < deadline
            time.sleep(0.01)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"7",
        b'"text"',
        b"{}",
        b'{"token": 1}',
        b"[" * 4000,
        b"\xff\xfe\x00",
        b"x" * 100_000,
    ],
)
def test_lease_that_cannot_be_read_has_run_out_and_says_so(
    content: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(locks, "POLL_SECONDS", 0.01)
    monkeypatch.setattr(locks, "UNREADABLE_SECONDS", 0.05)
    monkeypatch.setattr(logging.getLogger("comat"), "propagate", True)
    (tmp_path / "work.json").write_bytes(content)
    with lease(Folder(str(tmp_path)), "work.json"):
        pass
    assert "a lease cannot be read and counts as run out" in caplog.text


def test_lease_that_is_a_pipe_does_not_hang(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locks, "POLL_SECONDS", 0.01)
    monkeypatch.setattr(locks, "UNREADABLE_SECONDS", 0.05)
    os.mkfifo(tmp_path / "work.json")
    with lease(Folder(str(tmp_path)), "work.json"):
        pass


def test_of_many_that_see_an_abandoned_lease_one_takes_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locks, "POLL_SECONDS", 0.01)
    monkeypatch.setattr(locks, "LEASE_SECONDS", 0.3)
    hold(Folder(str(tmp_path)))
    inside, most = [], []

    def work() -> None:
        with lease(Folder(str(tmp_path)), "work.json"):
            inside.append(1)
            most.append(len(inside))
            time.sleep(0.02)
            inside.pop()

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == [1] * 6


def test_holder_that_was_paused_gives_up_what_another_has_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(locks, "RENEWAL_SECONDS", 0.05)
    folder = Folder(str(tmp_path))
    with pytest.raises(LeaseLostError, match="another run took this work over"), lease(folder, "work.json") as held:
        other = hold(folder)
        deadline = time.monotonic() + 10
        while not held.is_lost and time.monotonic() < deadline:
            time.sleep(0.01)
        held.check()
    assert Holder.parse(folder.read("work.json")) == other  # neither renewed nor removed


def test_the_one_whose_lease_is_lost_is_interrupted_in_its_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(locks, "RENEWAL_SECONDS", 0.05)
    folder, started = Folder(str(tmp_path)), time.monotonic()
    with pytest.raises(LeaseLostError), lease(folder, "work.json"):
        hold(folder)
        time.sleep(30)
    assert time.monotonic() - started < 20


def test_is_live_tells_a_holder_from_a_leftover(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locks, "POLL_SECONDS", 0.01)
    monkeypatch.setattr(locks, "LEASE_SECONDS", 0.1)
    folder = Folder(str(tmp_path))
    assert not is_live(folder, "work.json")
    with lease(folder, "work.json"):
        assert is_live(folder, "work.json")
    hold(folder)
    assert not is_live(folder, "work.json")


def test_renewals_outlive_a_disk_that_is_full_for_a_while(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locks, "RENEWAL_SECONDS", 0.02)
    write, failures = Folder.write, iter([True, True])

    def fail_twice(self: Folder, name: str, content: bytes) -> None:
        if next(failures, False):
            raise UserError("the store cannot be written: No space left on device", name, "make room")
        write(self, name, content)

    with lease(Folder(str(tmp_path)), "work.json"):
        first = json.loads((tmp_path / "work.json").read_bytes())["renewals"]
        monkeypatch.setattr(Folder, "write", fail_twice)
        deadline = time.monotonic() + 10
        while json.loads((tmp_path / "work.json").read_bytes())["renewals"] == first:
            assert time.monotonic() < deadline
            time.sleep(0.01)
