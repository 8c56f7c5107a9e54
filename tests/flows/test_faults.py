"""Runs that are killed, runs at the same time, other task runners, other stores: always the same artifacts."""

import json
import os
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from stages.plan.dag import stage_names
from stages.store.store import Store
from tests.fakes.dag import PRESET
from tests.fakes.tally import tallied

pytestmark = pytest.mark.slow

Start = Callable[..., subprocess.Popen[str]]
SLOW = ("--set", "numbers.count=12", "--set", "squares.delay=0.4")


def finish(process: subprocess.Popen[str]) -> dict[str, dict]:
    output, errors = process.communicate(timeout=600)
    assert process.returncode == 0, errors
    return json.loads(output.splitlines()[-1])


def digests_of(store: str, outcomes: dict[str, dict]) -> dict[str, str]:
    place = Store(store)
    return {
        name: place.artifact(name.split(".")[0], outcome["key"]).manifest.digest for name, outcome in outcomes.items()
    }


@pytest.fixture
def undisturbed(start_comat: Start, tmp_path: Path, tally_file: Path) -> dict[str, str]:
    """The digests of a run that nothing disturbs."""
    store = str(tmp_path / "undisturbed")
    outcomes = finish(start_comat("run", PRESET, *SLOW, "--store", store, "--json"))
    tally_file.unlink()
    return digests_of(store, outcomes)


def test_killed_run_goes_on_where_it_stopped(start_comat: Start, undisturbed: dict[str, str], tmp_path: Path) -> None:
    store = str(tmp_path / "store")
    for shards in (2, 5):
        process = start_comat("run", PRESET, *SLOW, "--store", store)
        while sum(name.startswith("squares") for name in tallied()) < shards:
            assert process.poll() is None
            time.sleep(0.02)
        os.kill(process.pid, signal.SIGKILL)
        process.communicate()
    outcomes = finish(start_comat("run", PRESET, *SLOW, "--store", store, "--json"))
    assert digests_of(store, outcomes) == undisturbed
    at_work = 2  # shards at the same time, each lost by a kill
    repetitions = len(tallied()) - sum(min(count, 2) for count in Counter(tallied()).values())
    assert repetitions <= 2 * at_work


@pytest.mark.parametrize("workers", [1, 2])
def test_interrupt_ends_the_run_with_one_line(start_comat: Start, tmp_path: Path, workers: int) -> None:
    settings = ("--set", f"execution.workers={workers}", "--set", "squares.delay=600")
    process = start_comat("run", PRESET, *settings, "--store", str(tmp_path / "store"))
    while "squares-0" not in tallied():
        assert process.poll() is None
        time.sleep(0.02)
    for one in (process, *psutil.Process(process.pid).children()):  # as a terminal does
        with suppress(psutil.ZombieProcess, psutil.NoSuchProcess):
            if "flows.server" not in " ".join(psutil.Process(one.pid).cmdline()):
                one.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=300)
    assert process.returncode == 130
    assert errors.splitlines()[-1] == "comat: interrupted; the same command goes on where it stopped"
    assert "Traceback" not in errors


@pytest.mark.parametrize("workers", [1, 3])
def test_sigterm_lets_a_training_save_its_state_and_ends_the_run_with_one_line(
    start_comat: Start, tmp_path: Path, workers: int
) -> None:
    settings = ("--set", f"execution.workers={workers}", "--set", "offset.patience=600")
    process = start_comat("run", PRESET, *SLOW, *settings, "--store", str(tmp_path / "store"))
    while "offset" not in tallied():
        assert process.poll() is None
        time.sleep(0.02)
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=300)
    assert process.returncode == 1
    assert errors.splitlines()[-1] == "training stopped by a signal after step 3; run again to go on"
    assert "Traceback" not in errors
    assert tallied().count("offset") == 1, "what was stopped on purpose is not tried again"
    assert "offset" not in dict(Store(str(tmp_path / "store")).entries(stage_names()))


def test_two_runs_at_once_do_everything_once(start_comat: Start, undisturbed: dict[str, str], tmp_path: Path) -> None:
    store = str(tmp_path / "store")
    processes = [start_comat("run", PRESET, *SLOW, "--store", store, "--json") for _ in range(2)]
    for outcomes in [finish(process) for process in processes]:
        assert digests_of(store, outcomes) == undisturbed
    assert max(Counter(name for name in tallied() if not name.startswith("squares")).values()) == 1
    assert set(Counter(name for name in tallied() if name.startswith("squares")).values()) == {2}  # one per node


@pytest.mark.parametrize("runner", ["processes", "dask"])
def test_other_task_runners_make_the_same_artifacts(
    start_comat: Start, undisturbed: dict[str, str], tmp_path: Path, runner: str
) -> None:
    store = str(tmp_path / "store")
    settings = ("--set", f"execution.runner={runner}", "--set", "execution.workers=2")
    outcomes = finish(start_comat("run", PRESET, *SLOW, *settings, "--store", store, "--json"))
    assert digests_of(store, outcomes) == undisturbed


def test_store_in_s3_works_like_one_on_disk(start_comat: Start, s3_store: str, tally_file: Path) -> None:
    process = start_comat("run", PRESET, *SLOW, "--store", s3_store)
    while "squares-2" not in tallied():
        assert process.poll() is None
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    first = finish(start_comat("run", PRESET, *SLOW, "--store", s3_store, "--json"))
    assert tallied().count("squares-0") == 2
    tally_file.unlink()
    second = finish(start_comat("run", PRESET, *SLOW, "--store", s3_store, "--json"))
    assert tallied() == []
    assert all(outcome["cached"] for outcome in second.values())
    assert {name: outcome["key"] for name, outcome in first.items()} == {
        name: outcome["key"] for name, outcome in second.items()
    }
    assert first["report"]["path"].startswith(f"{s3_store}/report/")
