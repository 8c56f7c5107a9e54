"""Leases: one holder at a time, none for ever."""

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from comat_core.support.errors import UserError
from stages.store import locks
from stages.store.filesystem import Folder
from stages.store.lease_holders import Holder
from stages.store.locks import Lease, LeaseLostError, is_live, lease, live_ones

NAME = "work.json"
ROOT = Path(__file__).parents[3]


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(str(tmp_path))


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Let a lease last for a moment only."""
    monkeypatch.setattr(locks, "POLL_SECONDS", 0.01)
    monkeypatch.setattr(locks, "RENEWAL_SECONDS", 0.05)
    monkeypatch.setattr(locks, "LEASE_SECONDS", 0.4)
    monkeypatch.setattr(locks, "UNREADABLE_SECONDS", 0.1)
    monkeypatch.setattr(locks, "CONFIRMED_SECONDS", 0.01)
    return monkeypatch


def hold(folder: Folder, **changes: Any) -> Holder:
    """Leave a lease behind as another process would: one of another machine unless told otherwise."""
    elsewhere = {"boot": "another", "namespace": "another"}
    holder = Holder.of_this_process().model_copy(update={**elsewhere, **changes})
    folder.write(NAME, holder.as_json())
    return holder


def holder_in(folder: Folder) -> Holder:
    holder = Holder.parse(folder.read(NAME))
    assert holder is not None
    return holder


def seconds_to_take(folder: Folder) -> float:
    started = time.monotonic()
    with lease(folder, NAME):
        return time.monotonic() - started


def wait_until(condition: Callable[[], Any]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def most_at_once(folder: Folder, threads: int) -> int:
    """How many of so many threads that want the lease were seen to hold it at the same time."""
    inside: list[int] = []
    most: list[int] = []

    def work() -> None:
        with lease(folder, NAME):
            inside.append(1)
            most.append(len(inside))
            time.sleep(0.02)
            inside.pop()

    started = [threading.Thread(target=work) for _ in range(threads)]
    for thread in started:
        thread.start()
    for thread in started:
        thread.join()
    assert len(most) == threads
    return max(most)


@pytest.mark.usefixtures("quick")
def test_threads_take_turns(folder: Folder, tmp_path: Path) -> None:
    assert most_at_once(folder, 5) == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("quick")
def test_of_many_that_see_an_abandoned_lease_one_takes_it(folder: Folder, tmp_path: Path) -> None:
    hold(folder)
    assert most_at_once(folder, 6) == 1
    assert list(tmp_path.iterdir()) == [tmp_path / ".partial"]


def test_lease_is_given_back_after_an_error(folder: Folder) -> None:
    with pytest.raises(RuntimeError), lease(folder, NAME):
        raise RuntimeError
    assert not folder.has(NAME)


def test_lease_of_a_dead_process_is_taken_over_at_once(folder: Folder) -> None:
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    here = Holder.of_this_process()
    hold(folder, boot=here.boot, namespace=here.namespace, process=dead.pid)
    assert seconds_to_take(folder) < 5


@pytest.mark.parametrize("elsewhere", [{"boot": "another"}, {"namespace": "pid:[1]"}, {"boot": ""}])
def test_a_pid_means_nothing_outside_its_namespace_and_boot(elsewhere: dict[str, str]) -> None:
    dead = Holder.of_this_process().model_copy(update={"process": 2**31 - 1})
    assert dead.is_known_dead()
    assert not dead.model_copy(update=elsewhere).is_known_dead()
    assert not Holder.of_this_process().model_copy(update=elsewhere).is_known_alive()


def test_a_pid_that_another_process_has_now_is_no_sign_of_life() -> None:
    assert Holder.of_this_process().is_known_alive()
    assert Holder.of_this_process().model_copy(update={"started": "1"}).is_known_dead()


def test_a_process_that_proc_hides_is_not_dead(monkeypatch: pytest.MonkeyPatch) -> None:
    """As other users' processes are where /proc is mounted with hidepid."""
    other_users = Holder.of_this_process().model_copy(update={"process": 1, "started": "1"})

    def refuse(*_: int) -> None:
        raise PermissionError

    def hide(path: Path) -> str:
        raise FileNotFoundError(path)

    with monkeypatch.context() as patch:
        patch.setattr(os, "kill", refuse)
        patch.setattr(Path, "read_text", hide)
        assert not other_users.is_known_dead()


@pytest.mark.skipif(not shutil.which("unshare") or os.geteuid() != 0, reason="makes a PID namespace, as root may")
@pytest.mark.usefixtures("quick")
def test_lease_of_a_living_process_in_another_container_stays(folder: Folder, tmp_path: Path) -> None:
    """Two containers on a host's network have one host name, and each its own processes 1, 2, 3."""
    program = (
        "import sys, time; from stages.store import locks; from stages.store.filesystem import Folder\n"
        "locks.RENEWAL_SECONDS = 0.05\n"
        f"with locks.lease(Folder({str(tmp_path)!r}), {NAME!r}): print('held', flush=True); time.sleep(1.2)"
    )
    command = ["unshare", "--pid", "--fork", "--mount-proc", sys.executable, "-c", program]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None and other.stdout.readline() == "held\n"
        assert holder_in(folder).process < 100
        assert seconds_to_take(folder) > 0.8
    assert other.returncode == 0


@pytest.mark.usefixtures("quick")
def test_lease_that_is_not_renewed_runs_out_by_the_waiters_own_clock(folder: Folder) -> None:
    hold(folder)
    assert 0.4 <= seconds_to_take(folder) < 5


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("ahead", [-90.0, 90.0])
def test_lease_is_not_judged_by_what_clocks_say(folder: Folder, monkeypatch: pytest.MonkeyPatch, ahead: float) -> None:
    with lease(folder, NAME) as held:
        now = time.time
        monkeypatch.setattr(time, "time", lambda: now() + ahead)
        waiting = threading.Thread(target=seconds_to_take, args=(folder,))
        waiting.start()
        time.sleep(0.8)  # two times what a lease lasts
        assert waiting.is_alive() and held.is_held()
    waiting.join()


def test_lease_of_an_earlier_version_is_respected(folder: Folder, quick: pytest.MonkeyPatch) -> None:
    quick.setattr(locks, "UNREADABLE_SECONDS", 0.0)
    old = {"token": "old", "host": "here", "process": 1, "renewed_at": 1.5}
    folder.write(NAME, json.dumps(old).encode())
    assert seconds_to_take(folder) >= 0.4


def test_a_waiter_that_stood_still_itself_takes_nothing_for_it(folder: Folder, quick: pytest.MonkeyPatch) -> None:
    """Both stand still where a machine is paused, and the waiter may be the first to go on."""
    quick.setattr(locks, "LEASE_SECONDS", 60.0)
    quick.setattr(locks, "RENEWAL_SECONDS", 15.0)
    hold(folder)
    watch, now = locks._Watch(folder, NAME), 1000.0
    for seconds, has_run_out in ((0, False), (3600, False), (14, False), (14, False), (14, False), (14, True)):
        now += seconds
        quick.setattr(time, "monotonic", lambda now=now: now)
        assert watch.has_run_out(folder.read(NAME)) is has_run_out


@pytest.mark.usefixtures("quick")
def test_lease_of_a_living_holder_is_waited_for(folder: Folder) -> None:
    hold(folder)
    waited: list[str] = []

    def notice() -> None:
        waited.append("told")
        folder.remove(NAME)

    with lease(folder, NAME, on_wait=notice):
        assert waited == ["told"]


@pytest.mark.usefixtures("quick")
def test_holder_renews_its_lease(folder: Folder) -> None:
    with lease(folder, NAME):
        first = holder_in(folder)
        wait_until(lambda: holder_in(folder).renewal != first.renewal)
        assert holder_in(folder).token == first.token
        assert len(folder.read(NAME)) == len(first.as_json()), "whoever reads meanwhile reads no half of it"


VARIANTS = {
    "empty": b"",
    "half": b'{"token": "a", "ho',
    "list": b"[]",
    "null": b"null",
    "number": b"7",
    "text": b'"text"',
    "empty object": b"{}",
    "other types": b'{"token": 1, "host": [], "process": {}}',
    "no process": b'{"token": "a", "host": "b"}',
    "process as text": b'{"token": "a", "host": "b", "process": "1"}',
    "process group": b'{"token": "a", "host": "b", "process": -1}',
    "huge process": b'{"token": "a", "host": "b", "process": ' + b"9" * 100 + b"}",
    "true process": b'{"token": "a", "host": "b", "process": true}',
    "more fields": b'{"token": "a", "host": "b", "process": 1, "else": 1}',
    "NaN": b'{"token": "a", "host": "b", "process": NaN}',
    "nested": b"[" * 4000,
    "no UTF-8": b"\xff\xfe\x00",
    "long": b"x" * 100_000,
}


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("content", VARIANTS.values(), ids=VARIANTS.keys())
def test_lease_that_cannot_be_read_has_run_out_and_says_so(
    content: bytes, folder: Folder, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / NAME).write_bytes(content)
    assert seconds_to_take(folder) < 5
    assert set(caplog.messages) == {f"a lease cannot be read and counts as run out: {folder.url}/{NAME}"}


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("kind", ["pipe", "endless", "loop", "nowhere"])
def test_lease_that_is_no_plain_file_has_run_out(folder: Folder, tmp_path: Path, kind: str) -> None:
    if kind == "pipe":
        os.mkfifo(tmp_path / NAME)
    else:
        target = {"endless": "/dev/zero", "loop": NAME, "nowhere": "nowhere"}[kind]
        (tmp_path / NAME).symlink_to(target)
    assert seconds_to_take(folder) < 5


@pytest.mark.usefixtures("quick")
def test_a_folder_in_the_place_of_a_lease_is_told(folder: Folder, tmp_path: Path) -> None:
    (tmp_path / NAME / "mine").mkdir(parents=True)
    with pytest.raises(UserError, match=f"the store cannot be written: Is a directory .*{NAME}"):
        seconds_to_take(folder)


@pytest.mark.usefixtures("quick")
def test_holder_that_stood_still_gives_up_what_another_has_taken(any_folder: Folder) -> None:
    with pytest.raises(LeaseLostError, match="another run has taken this work over"), lease(any_folder, NAME) as held:
        other = hold(any_folder)
        wait_until(lambda: not held.is_held())
        held.check()
    assert holder_in(any_folder) == other, "neither renewed nor removed"


@pytest.fixture(params=["file", "memory", "s3"])
def any_folder(request: pytest.FixtureRequest, tmp_path: Path) -> Folder:
    if request.param == "s3":
        return Folder(request.getfixturevalue("s3_store"))
    return Folder(str(tmp_path) if request.param == "file" else f"memory://{tmp_path.name}")


def test_holder_notices_before_it_writes_anything(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    """It may go on in its work before its renewals do."""
    monkeypatch.setattr(locks, "CONFIRMED_SECONDS", 0.0)
    with pytest.raises(LeaseLostError), lease(folder, NAME) as held:
        held.check()
        hold(folder)
        held.check()


def test_renewal_never_touches_what_another_has_put_there(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    """However long the holder stands still between the two halves of a renewal."""
    with pytest.raises(LeaseLostError), lease(folder, NAME) as held:
        ours, taken = Lease._renewed, []

        def stand_still(self: Lease, found: bytes) -> bytes | None:
            taken.append(hold(folder))
            return ours(self, found)

        monkeypatch.setattr(Lease, "_renewed", stand_still)
        held.renew()
        assert holder_in(folder) == taken[0]
        held.check()


def test_what_fails_after_the_lease_was_lost_is_told_as_that(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locks, "CONFIRMED_SECONDS", 0.0)
    with pytest.raises(LeaseLostError) as raised, lease(folder, NAME):
        hold(folder)
        raise FileNotFoundError("what the other one removed")
    assert isinstance(raised.value.__context__, FileNotFoundError)


def test_another_process_of_the_same_work_knows_whether_the_lease_is_held(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(locks, "CONFIRMED_SECONDS", 0.0)
    with lease(folder, NAME) as held:
        workers = Lease(type(held.claim).model_validate_json(held.claim.model_dump_json()))
        assert workers.is_held()
        hold(folder)
        assert not workers.is_held()


PAUSED = """
import sys, time
from stages.store import locks
from stages.store.filesystem import Folder

locks.RENEWAL_SECONDS, locks.CONFIRMED_SECONDS = 0.1, 0.1
with locks.lease(Folder(sys.argv[1]), "work.json") as held:
    print("held", flush=True)
    while True:
        time.sleep(0.01)
        try:
            held.check()
        except locks.LeaseLostError:
            print("given up", flush=True)
            raise SystemExit(0)
"""


@pytest.mark.usefixtures("quick")
def test_a_process_that_was_paused_gives_up(folder: Folder, tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", PAUSED, str(tmp_path)], cwd=ROOT, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None and process.stdout.readline() == "held\n"
        hold(folder, **{**holder_in(folder).model_dump(), "boot": "another"})  # as if it ran on another machine
        time.sleep(0.3)
        process.send_signal(signal.SIGSTOP)
        with lease(folder, NAME):
            ours = holder_in(folder).token
            process.send_signal(signal.SIGCONT)
            assert process.stdout.readline() == "given up\n"
            assert holder_in(folder).token == ours
    assert process.returncode == 0


@pytest.mark.usefixtures("quick")
def test_is_live_tells_a_holder_from_a_leftover(folder: Folder) -> None:
    assert not is_live(folder, NAME)
    with lease(folder, NAME):
        assert is_live(folder, NAME)
    hold(folder)
    assert not is_live(folder, NAME)


@pytest.mark.usefixtures("quick")
def test_many_leftovers_are_told_in_the_time_of_one(folder: Folder) -> None:
    hold(folder)
    content = folder.read(NAME)
    for number in range(20):
        folder.write(f"{number}.json", content)
    started = time.monotonic()
    with lease(folder, "mine.json"):
        assert live_ones(folder, [*(f"{number}.json" for number in range(20)), "mine.json"]) == {"mine.json"}
    assert time.monotonic() - started < 3


def test_one_that_was_killed_while_it_took_a_lease_over_blocks_nobody_for_ever(
    folder: Folder, quick: pytest.MonkeyPatch
) -> None:
    hold(folder)

    def die(*_: Any) -> None:
        raise KeyboardInterrupt

    with quick.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Folder, "write", die)
        patch.setattr(Folder, "remove", die)
        seconds_to_take(folder)
    assert [name for name in folder.sizes() if name.endswith(".taken-over")]
    assert seconds_to_take(folder) < 10
    assert folder.sizes() == {}


@pytest.mark.usefixtures("quick")
def test_renewals_outlive_a_store_that_is_away_for_a_while(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    failures = iter([UserError("full", NAME, "make room"), TimeoutError("slow"), RuntimeError("a driver's own"), None])
    failed, amend = [], locks.amend

    def fail_thrice(*arguments: Any, **options: Any) -> bool:
        if (failure := next(failures, None)) is not None:
            failed.append(failure)
            raise failure
        return amend(*arguments, **options)

    monkeypatch.setattr(locks, "amend", fail_thrice)
    with lease(folder, NAME) as held:
        first = holder_in(folder)
        wait_until(lambda: holder_in(folder).renewal != first.renewal)
        assert len(failed) == 3
        assert held.is_held()
