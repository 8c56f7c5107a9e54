"""Leases: one holder at a time, none for ever."""

import json
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from comat_core.errors import UserError
from stages import locks
from stages.filesystem import Folder
from stages.locks import lease


def hold(folder: Folder, **changes: object) -> None:
    """Leave a lease behind as another process would."""
    holder = {"token": "other", "host": "elsewhere", "process": 1, "renewed_at": time.time(), **changes}
    folder.write("work.json", json.dumps(holder).encode())


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
    hold(Folder(str(tmp_path)), host=locks.socket.gethostname(), process=dead.pid)
    started = time.monotonic()
    with lease(Folder(str(tmp_path)), "work.json"):
        assert time.monotonic() - started < 5


def test_lease_that_is_not_renewed_runs_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locks, "POLL_SECONDS", 0.01)
    hold(Folder(str(tmp_path)), renewed_at=time.time() - 2 * locks.LEASE_SECONDS)
    with lease(Folder(str(tmp_path)), "work.json"):
        pass


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
        first = json.loads((tmp_path / "work.json").read_bytes())["renewed_at"]
        deadline = time.monotonic() + 10
        while json.loads((tmp_path / "work.json").read_bytes())["renewed_at"] == first:
            assert time.monotonic() < deadline
            time.sleep(0.01)


def test_lease_whose_holder_died_while_making_it_runs_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locks, "POLL_SECONDS", 0.01)
    monkeypatch.setattr(locks, "LEASE_SECONDS", 0.1)
    (tmp_path / "work.json").write_bytes(b"")
    started = time.monotonic()
    with lease(Folder(str(tmp_path)), "work.json"):
        assert 0.1 <= time.monotonic() - started < 5


def test_lease_of_a_machine_whose_clock_is_ahead_runs_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locks, "POLL_SECONDS", 0.01)
    monkeypatch.setattr(locks, "LEASE_SECONDS", 0.1)
    hold(Folder(str(tmp_path)), renewed_at=time.time() + 3600)
    with lease(Folder(str(tmp_path)), "work.json"):
        pass


def test_renewals_outlive_a_disk_that_is_full_for_a_while(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locks, "RENEWAL_SECONDS", 0.02)
    write, failures = Folder.write, iter([True, True])

    def fail_twice(self: Folder, name: str, content: bytes) -> None:
        if next(failures, False):
            raise UserError("the store cannot be written: No space left on device", name, "make room")
        write(self, name, content)

    with lease(Folder(str(tmp_path)), "work.json"):
        first = json.loads((tmp_path / "work.json").read_bytes())["renewed_at"]
        monkeypatch.setattr(Folder, "write", fail_twice)
        deadline = time.monotonic() + 10
        while json.loads((tmp_path / "work.json").read_bytes())["renewed_at"] == first:
            assert time.monotonic() < deadline
            time.sleep(0.01)
