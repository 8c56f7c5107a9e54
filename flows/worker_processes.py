"""Several tasks at a time on this machine: Prefect's pool of processes, started for a run and ended with it.

A worker keeps models from one shard to the next. It saves a training that SIGTERM finds in it, and ends then.
"""

import multiprocessing
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Iterator
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing.process import BaseProcess
from typing import Any

from prefect.exceptions import TerminationSignal
from prefect.task_runners import ProcessPoolTaskRunner

from comat_core.support.errors import UserError
from comat_core.support.parent_process import end_with_parent
from flows.messages import messages_are_shown, show_messages
from stages.train.processes.termination import TrainingStopped

EXIT_OF_STOPPED_TRAINING = 75
"""Exit code of a worker that has saved a training and told so."""

EXIT_CODE_SECONDS = 5.0

_task_under_way = threading.Lock()


class WorkerLostError(RuntimeError):
    """A worker process of the run has ended by itself."""


class WorkerPool(ProcessPoolTaskRunner):
    """Prefect's process pool, whose processes start deaf to Ctrl-C.

    It reaches all processes of a terminal, and one that is still importing would answer it with a trace.
    """

    def submit(self, *arguments: Any, **settings: Any) -> Any:
        # What is blocked here a new thread inherits, and from it a new process.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            return super().submit(*arguments, **settings)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)


def make_process_pool(workers: int) -> ProcessPoolTaskRunner:
    """Make a task runner of so many processes, which start when there is work for them."""
    return WorkerPool(workers, initializer=begin_worker, initargs=(workers, messages_are_shown()))


def begin_worker(workers: int, with_messages: bool) -> None:
    """What a worker does before its first task: leave its end to the run, and take its share of the cores.

    Args:
        workers: how many share this machine.
        with_messages: the stages' messages go to standard error, as in the run's own process.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all processes of a terminal; the run's own ends these
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    end_with_parent()
    # Set before torch is imported: otherwise each worker would take all cores.
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, len(os.sched_getaffinity(0)) // workers)))
    if with_messages:
        show_messages()


@contextmanager
def task_of_a_worker() -> Iterator[None]:
    """Around what a task does: lets only such failures out of a worker process as the run's own process can be told.

    The pool waits for ever for a task that leaves by anything but an `Exception` (Prefect 3.8).

    Raises:
        UserError: another task is under way in this process. Libraries change torch for the whole process while they
            load a model.
    """
    if not _task_under_way.acquire(blocking=False):
        advice = "start the cluster's workers with one thread each (dask worker --nthreads 1)"
        raise UserError("two tasks run in one process, which would spoil each other's models", "execution", advice)
    try:
        yield
    except TrainingStopped as stopped:
        if not _is_worker():
            raise
        print(stopped, file=sys.stderr, flush=True)
        os._exit(EXIT_OF_STOPPED_TRAINING)
    except Exception as error:
        if _is_worker():
            # A note goes with the exception from process to process; its trace does not.
            error.add_note("".join(traceback.format_exception(error)))
        raise
    except BaseException as left:
        if _is_worker():
            raise RuntimeError(f"the task left by {type(left).__name__}: {left}") from left
        raise
    finally:
        _task_under_way.release()


def _is_worker() -> bool:
    return multiprocessing.parent_process() is not None


@contextmanager
def workers_ended_on_failure() -> Iterator[None]:
    """Around the use of a process pool: when the block fails, its workers end, rather than finish what they do.

    A training among them saves its state first.

    Raises:
        WorkerLostError: a worker was killed, or left.
        TrainingStopped: after SIGTERM, if a worker has saved a training; it has told so itself.
    """
    before = set(multiprocessing.active_children())
    try:
        yield
    except BaseException as failure:
        codes = _end(before)
        if isinstance(failure, BrokenProcessPool):
            advice = "the same command goes on where it stopped (if memory ran out, lower execution.workers)"
            raise WorkerLostError(f"a worker process was killed: {advice}") from failure
        if isinstance(failure, TerminationSignal) and EXIT_OF_STOPPED_TRAINING in codes:
            raise TrainingStopped(1) from failure
        raise


def _end(spared: set[BaseProcess]) -> list[int | None]:
    """End this process's children but for some, wait for them, and return their exit codes."""
    codes: list[int | None] = []
    while children := set(multiprocessing.active_children()) - spared:  # the pool may have been starting one
        for child in children:
            child.terminate()
        codes += [_exit_code(child) for child in children]
    return codes


def _exit_code(child: BaseProcess) -> int | None:
    """Wait for a process. The pool may have heard of its end first, in a thread that has yet to write the code down."""
    child.join()
    end = time.monotonic() + EXIT_CODE_SECONDS
    while child.exitcode is None and time.monotonic() < end:
        time.sleep(0.01)
    return child.exitcode
