"""Several training processes on this machine: started, watched, stopped and accounted for as one.

As torchrun does it, with torch's own launcher: each process learns from its environment which one it is, and finds the
others through a store that this process keeps, or that the machines of a training have in common. A job travels as JSON
in a file.
"""

import logging
import signal
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from comat_core.support.errors import UserError
from stages.models.devices import AUTO
from stages.train.config import TrainConfig
from stages.train.processes.failures import are_left_alone, raise_root_cause
from stages.train.processes.job import Job
from stages.train.processes.machines import Machines
from stages.train.processes.termination import TrainingStopped, termination_noticed

if TYPE_CHECKING:
    from torch.distributed.elastic.multiprocessing import PContext

HOST = "127.0.0.1"
POLL_SECONDS = 0.2
ORDERLY_END_SECONDS = 5.0
"""Time that the processes have to end by themselves once another machine has ended."""
STOP_SECONDS = 1800
"""Time that the processes have, after SIGTERM, to finish a step and save their state."""
HANDLED_BY_TORCH = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT)


@dataclass(frozen=True)
class Share:
    """The part of a training's processes that this machine runs.

    Attributes:
        processes: on this machine.
        first: number of the first of them among all.
        total: on all machines together.
        machines: the machines, if there are several.
    """

    processes: int
    first: int = 0
    total: int = 0
    machines: Machines | None = None

    @property
    def where(self) -> str:
        """What comes after "process 1 of 2" in a message."""
        return "" if self.machines is None else f" on {self.machines.name}"


def run_in_processes(job: Job) -> None:
    """Run a job in `train.processes` processes of this machine and wait for all of them.

    SIGTERM to this process reaches all others. When one of them fails, the others are ended.

    Raises:
        UserError: this machine lacks the GPUs, or a process met a user's mistake.
        TrainingStopped: after SIGTERM, once the state is saved.
        TrainingProcessError: a process failed otherwise, or was killed.
    """
    _run_share(job, Share(job.config.processes, total=job.config.processes))


def run_with_other_machines(job: Job, machines: Machines) -> None:
    """Run this machine's share of a job's `train.processes`, as many as every other machine's.

    Raises:
        UserError, TrainingStopped, TrainingProcessError: as `run_in_processes`.
        MachineLostError: another machine has failed, or is gone.
    """
    processes = processes_of_a_machine(job.config, machines.count)
    _run_share(job, Share(processes, machines.rank * processes, job.config.processes, machines))


def processes_of_a_machine(config: TrainConfig, machines: int) -> int:
    """How many of the processes each machine runs.

    Raises:
        UserError: they do not divide evenly.
    """
    if config.processes % machines:
        what = f"{config.processes} training processes cannot be divided among {machines} machines"
        raise UserError(what, "train.processes", "make it the number of all machines' GPUs together")
    return config.processes // machines


def _run_share(job: Job, share: Share) -> None:
    _check_devices(job.config, share.processes)
    with (
        job.prepared(),
        tempfile.TemporaryDirectory(prefix="comat-train-") as folder,
        termination_noticed() as termination,
    ):
        job_file = Path(folder) / "job.json"
        job_file.write_text(job.model_dump_json())
        with _workers(job_file, share) as workers:
            _wait(workers, termination, share)


@contextmanager
def _workers(job_file: Path, share: Share) -> Iterator["PContext"]:
    """Start the processes; when the block ends, however it does, none is left."""
    import torch.distributed
    from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs, start_processes

    if share.machines is None:
        own_store = torch.distributed.TCPStore(HOST, 0, is_master=True, wait_for_workers=False)
        store = {"MASTER_ADDR": HOST, "MASTER_PORT": str(own_store.port)}
    else:
        store = share.machines.workers_store
    shared = {
        **store,
        "WORLD_SIZE": str(share.total),
        "LOCAL_WORLD_SIZE": str(share.processes),
        "TORCHELASTIC_USE_AGENT_STORE": str(True),  # the store above, so that no port is guessed
        "TORCHELASTIC_RESTART_COUNT": "0",
    }
    # -P: what lies in the folder that the run was started from must not take the place of an installed package.
    command = ("-P", "-m", "stages.train.processes.worker", str(job_file))
    numbers = range(share.processes)
    with _torch_kept_quiet():
        with _handlers_kept():
            workers = start_processes(
                "train",
                sys.executable,
                args=dict.fromkeys(numbers, command),
                envs={
                    number: {**shared, "RANK": str(share.first + number), "LOCAL_RANK": str(number)}
                    for number in numbers
                },
                logs_specs=DefaultLogsSpecs(log_dir=str(job_file.parent)),
            )
        try:
            yield workers
        finally:
            workers.close(signal.SIGKILL)


def _wait(workers: "PContext", termination: list[int], share: Share) -> None:
    """Wait until all processes have ended well.

    Raises:
        UserError, TrainingStopped, TrainingProcessError: they have not.
        MachineLostError: those of another machine have not.
    """
    machines = share.machines
    while (result := workers.wait(POLL_SECONDS, POLL_SECONDS)) is None:
        if termination:
            workers.close(signal.SIGTERM, STOP_SECONDS)
            result = workers.wait(0)
            break
        if machines is not None and machines.problem is not None:
            result = workers.wait(ORDERLY_END_SECONDS)  # what ends them all may end them in order
            break
    failures = result.failures.values() if result is not None else ()
    if machines is not None:
        if result is None:
            machines.check()
        if failures and are_left_alone(failures):
            machines.wait_for_problem()
    if any(failure.exitcode != -signal.SIGTERM for failure in failures):
        raise_root_cause(failures, share.processes, share.where)
    if failures:
        raise TrainingStopped("training stopped by a signal before its first step; run again to go on")


def _check_devices(config: TrainConfig, processes: int) -> None:
    """Refuse what would end in several processes on one device.

    Raises:
        UserError: there are fewer GPUs than processes, or the device is a single one.
    """
    import torch

    gpus, setting = torch.cuda.device_count(), config.device
    if setting == "cpu" or (setting == AUTO and not gpus):
        return
    if setting not in (AUTO, "cuda"):
        what = f"{processes} processes cannot share the device {setting!r}"
        raise UserError(what, "train.device", "write auto, cuda or cpu")
    if gpus < processes:
        what = f"{processes} training processes need a GPU each, and there are {gpus}"
        advice = "lower train.processes and raise train.gradient_accumulation by the same factor, or add machines"
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
