"""Several tasks at a time: what a worker process is told, and what becomes of it when the run fails."""

import multiprocessing
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import psutil
import pytest

from comat_core.support.errors import UserError
from flows.worker_processes import begin_worker, task_of_a_worker
from tests.fakes.dag import PRESET
from tests.fakes.tally import tallied

Start = Callable[..., subprocess.Popen[str]]
PATIENCE_SECONDS = 300


def state_of_worker() -> tuple[int, bool]:
    import torch

    return torch.get_num_threads(), signal.getsignal(signal.SIGINT) is signal.SIG_IGN


def fail_as_a_task(kind: type[BaseException]) -> None:
    with task_of_a_worker():
        raise kind("the task is at its end")


def pool(workers: int) -> ProcessPoolExecutor:
    spawning = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(1, spawning, initializer=begin_worker, initargs=(workers, False))


def test_workers_divide_the_cores_and_leave_ctrl_c_to_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    cores = len(os.sched_getaffinity(0))
    with pool(workers=2 * cores) as processes:
        assert processes.submit(state_of_worker).result(PATIENCE_SECONDS) == (1, True)
    monkeypatch.setenv("OMP_NUM_THREADS", str(cores))
    with pool(workers=2 * cores) as processes:
        assert processes.submit(state_of_worker).result(PATIENCE_SECONDS) == (cores, True)


def test_what_no_pool_can_carry_becomes_an_error_and_errors_bring_their_trace() -> None:
    with pool(workers=1) as processes:
        with pytest.raises(RuntimeError, match="the task left by SystemExit: the task is at its end"):
            processes.submit(fail_as_a_task, SystemExit).result(PATIENCE_SECONDS)
        failure = processes.submit(fail_as_a_task, ValueError).exception(PATIENCE_SECONDS)
    assert isinstance(failure, ValueError)
    assert "fail_as_a_task" in failure.__notes__[0]


def test_a_second_task_in_the_same_process_is_refused() -> None:
    refusals: list[UserError] = []

    def work() -> None:
        try:
            with task_of_a_worker():
                pass
        except UserError as error:
            refusals.append(error)

    for _ in range(2):
        with task_of_a_worker():
            thread = threading.Thread(target=work)
            thread.start()
            thread.join()
    assert [refusal.what_to_do for refusal in refusals] == [
        "start the cluster's workers with one thread each (dask worker --nthreads 1)"
    ] * 2


def workers_of(process: subprocess.Popen[str]) -> list[psutil.Process]:
    """The run's worker processes, without Prefect's server and Python's resource tracker."""
    children = psutil.Process(process.pid).children()
    return [child for child in children if "spawn_main" in " ".join(child.cmdline())]


@pytest.mark.slow
@pytest.mark.parametrize("victim", ["worker", "run"])
def test_what_is_killed_takes_the_others_with_it(start_comat: Start, tmp_path: Path, victim: str) -> None:
    settings = ("--set", "execution.workers=2", "--set", "numbers.count=12", "--set", "squares.delay=600")
    process = start_comat("run", PRESET, *settings, "--store", str(tmp_path / "store"), XDG_CACHE_HOME=str(tmp_path))
    while sum(name.startswith("squares") for name in tallied()) < 2:
        assert process.poll() is None
        time.sleep(0.1)
    workers = workers_of(process)
    assert len(workers) == 2
    os.kill(workers[0].pid if victim == "worker" else process.pid, signal.SIGKILL)
    _, errors = process.communicate(timeout=PATIENCE_SECONDS)
    gone, alive = psutil.wait_procs(workers, timeout=PATIENCE_SECONDS)
    assert (len(gone), alive) == (2, [])
    if victim == "worker":
        assert process.returncode == 1
        assert "comat: WorkerLostError: a worker process was killed: " in errors.splitlines()[-1]
        assert "Traceback" not in errors
