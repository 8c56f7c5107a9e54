"""Several training processes on this machine: started, watched, stopped and accounted for as one.

As torchrun does it, with torch's own launcher: each process learns from its environment which one it is, and finds the
others through a store that this process keeps. A job travels as JSON in a file.
"""

import logging
import signal
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from comat_core.support.errors import UserError
from stages.models.devices import AUTO
from stages.train.config import TrainConfig
from stages.train.processes.failures import raise_root_cause
from stages.train.processes.job import Job
from stages.train.processes.termination import TrainingStopped, termination_noticed

if TYPE_CHECKING:
    from torch.distributed.elastic.multiprocessing import PContext

HOST = "127.0.0.1"
POLL_SECONDS = 0.2
STOP_SECONDS = 1800
"""Time that the processes have, after SIGTERM, to finish a step and save their state."""
HANDLED_BY_TORCH = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT)


def run_in_processes(job: Job) -> None:
    """Run a job in `train.processes` processes and wait for all of them.

    SIGTERM to this process reaches all others. When one of them fails, the others are ended.

    Raises:
        UserError: this machine lacks the GPUs, or a process met a user's mistake.
        TrainingStopped: after SIGTERM, once the state is saved.
        TrainingProcessError: a process failed otherwise, or was killed.
    """
    _check_devices(job.config)
    with (
        job.prepared(),
        tempfile.TemporaryDirectory(prefix="comat-train-") as folder,
        termination_noticed() as termination,
    ):
        job_file = Path(folder) / "job.json"
        job_file.write_text(job.model_dump_json())
        with _workers(job_file, job.config.processes) as workers:
            _wait(workers, termination, job.config.processes)


@contextmanager
def _workers(job_file: Path, processes: int) -> Iterator["PContext"]:
    """Start the processes; when the block ends, however it does, none is left."""
    import torch.distributed
    from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs, start_processes

    store = torch.distributed.TCPStore(HOST, 0, is_master=True, wait_for_workers=False)
    shared = {
        "MASTER_ADDR": HOST,
        "MASTER_PORT": str(store.port),
        "WORLD_SIZE": str(processes),
        "LOCAL_WORLD_SIZE": str(processes),
        "TORCHELASTIC_USE_AGENT_STORE": str(True),  # the store above, so that no port is guessed
        "TORCHELASTIC_RESTART_COUNT": "0",
    }
    # -P: what lies in the folder that the run was started from must not take the place of an installed package.
    command = ("-P", "-m", "stages.train.processes.worker", str(job_file))
    with _torch_kept_quiet():
        with _handlers_kept():
            workers = start_processes(
                "train",
                sys.executable,
                args=dict.fromkeys(range(processes), command),
                envs={rank: {**shared, "RANK": str(rank), "LOCAL_RANK": str(rank)} for rank in range(processes)},
                logs_specs=DefaultLogsSpecs(log_dir=str(job_file.parent)),
            )
        try:
            yield workers
        finally:
            workers.close(signal.SIGKILL)


def _wait(workers: "PContext", termination: list[int], processes: int) -> None:
    """Wait until all processes have ended well.

    Raises:
        UserError, TrainingStopped, TrainingProcessError: they have not.
    """
    while (result := workers.wait(POLL_SECONDS, POLL_SECONDS)) is None:
        if termination:
            workers.close(signal.SIGTERM, STOP_SECONDS)
            result = workers.wait(0)
            break
    failures = result.failures.values() if result is not None else ()
    if any(failure.exitcode != -signal.SIGTERM for failure in failures):
        raise_root_cause(failures, processes)
    if failures:
        raise TrainingStopped("training stopped by a signal before its first step; run again to go on")


def _check_devices(config: TrainConfig) -> None:
    """Refuse what would end in several processes on one device.

    Raises:
        UserError: there are fewer GPUs than processes, or the device is a single one.
    """
    import torch

    gpus, setting = torch.cuda.device_count(), config.device
    if setting == "cpu" or (setting == AUTO and not gpus):
        return
    if setting not in (AUTO, "cuda"):
        what = f"{config.processes} processes cannot share the device {setting!r}"
        raise UserError(what, "train.device", "write auto, cuda or cpu")
    if gpus < config.processes:
        what = f"{config.processes} training processes need a GPU each, and there are {gpus}"
        advice = "lower train.processes and raise train.gradient_accumulation by the same factor"
        raise UserError(what, "train.processes", advice)


@contextmanager
def _handlers_kept() -> Iterator[None]:
    """Put back the signal handlers that torch's launcher replaces, for good, when it is used in a main thread."""
    kept = {number: signal.getsignal(number) for number in HANDLED_BY_TORCH}
    try:
        yield
    finally:
        for number, handler in kept.items():
            if signal.getsignal(number) is not handler:
                signal.signal(number, handler)


@contextmanager
def _torch_kept_quiet() -> Iterator[None]:
    """Keep the launcher's own account of failures off the screen: it is told once, as an exception."""
    logger = logging.getLogger("torch.distributed.elastic")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(level)
