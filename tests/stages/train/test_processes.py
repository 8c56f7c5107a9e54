"""Training in one process and in several, hit by real signals: nothing hangs, is lost, or looks finished and is not."""

import json
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch

import stages.train.processes.launching as launching_module
from comat_core.support.errors import UserError
from stages.store.artifacts import Artifact
from stages.store.store import Store
from stages.train import TrainConfig, run
from stages.train.learning.state import checkpoints
from stages.train.processes.job import Job
from stages.train.processes.launching import run_in_processes
from tests.stages.train.run_stage import Request

ROOT = Path(__file__).parents[3]
STEPS = 6
PATIENCE_SECONDS = 1500  # on a machine with ten times more work than cores

MakeConfig = Callable[..., TrainConfig]
Start = Callable[[TrainConfig, str], subprocess.Popen[str]]


@pytest.fixture
def start(inputs: dict[str, Artifact], tmp_path: Path) -> Iterator[Start]:
    """Start the train stage in a process of its own, over a store of the given name."""
    started: list[subprocess.Popen[str]] = []

    def start_stage(config: TrainConfig, store: str) -> subprocess.Popen[str]:
        request = tmp_path / f"request-{len(started)}.json"
        request.write_text(Request(config=config, inputs=inputs, store=str(tmp_path / store)).model_dump_json())
        command = [sys.executable, "-m", "tests.stages.train.run_stage", str(request)]
        pipe = subprocess.PIPE
        started.append(subprocess.Popen(command, cwd=ROOT, text=True, stdout=pipe, stderr=pipe))
        return started[-1]

    yield start_stage
    for process in started:
        process.kill()
        process.communicate()


def wait_until(condition: Callable[[], Any], process: subprocess.Popen[str]) -> Any:
    """Wait until something holds while the process runs, and return it."""
    end = time.monotonic() + PATIENCE_SECONDS
    while not (value := condition()):
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < end
        time.sleep(0.02)
    return value


def workers_of(process: subprocess.Popen[str]) -> list[psutil.Process]:
    children = psutil.Process(process.pid).children(recursive=True)
    return [child for child in children if "stages.train.processes.worker" in child.cmdline()]


def finished_steps(folder: Path) -> list[int]:
    """Numbers of the finished checkpoints below a store's folder."""
    found = [path for folder in folder.rglob("checkpoints") for path in checkpoints(folder)]
    return [int(path.name.removeprefix("step-")) for path in found]


def finish(process: subprocess.Popen[str]) -> str:
    """The digest that the process prints."""
    output, errors = process.communicate(timeout=PATIENCE_SECONDS)
    assert process.returncode == 0, errors
    return output.splitlines()[-1]


def stop_in_time(process: subprocess.Popen[str]) -> str:
    """The last line on standard error of a process that is to end by itself."""
    _, errors = process.communicate(timeout=PATIENCE_SECONDS)
    assert "Traceback" not in errors or "TrainingProcessError" in errors
    return errors.splitlines()[-1]


@pytest.mark.slow
@pytest.mark.parametrize("processes", [1, 2])
def test_sigterm_saves_the_state_and_the_next_run_ends_as_an_undisturbed_one(
    make_config: MakeConfig, start: Start, tmp_path: Path, processes: int
) -> None:
    # A checkpoint is due after the second step, as a sign of life, and not again.
    config = make_config(steps=STEPS, processes=processes, batch_size=1, checkpoints={"every": 2})
    undisturbed = finish(start(config, "undisturbed"))

    process = start(config, "stopped")
    wait_until(lambda: finished_steps(tmp_path / "stopped"), process)
    workers = workers_of(process)
    assert len(workers) == (0 if processes == 1 else processes)
    process.send_signal(signal.SIGTERM)
    line = stop_in_time(process)
    assert process.returncode == 1
    step = re.fullmatch(r"training stopped by a signal after step (\d+); run again to go on", line)
    assert step is not None, line
    assert max(finished_steps(tmp_path / "stopped")) == int(step[1]) < STEPS
    assert not list((tmp_path / "stopped").rglob("manifest.json"))
    assert not any(worker.is_running() for worker in workers)

    assert finish(start(config, "stopped")) == undisturbed
    print(f"processes={processes}: stopped after step {step[1]}, resumed to the digest {undisturbed[:12]}")


@pytest.mark.slow
def test_a_killed_process_ends_the_stage_and_a_killed_parent_its_processes(
    make_config: MakeConfig, start: Start, tmp_path: Path
) -> None:
    config = make_config(steps=STEPS, processes=2, batch_size=1, checkpoints={"every": 1})
    undisturbed = finish(start(config, "undisturbed"))

    process = start(config, "killed")
    wait_until(lambda: finished_steps(tmp_path / "killed"), process)
    workers_of(process)[1].kill()
    since = time.monotonic()
    line = stop_in_time(process)
    print(f"{time.monotonic() - since:.1f} s after the kill: {line}")
    assert process.returncode == 1
    assert re.search(r"TrainingProcessError: training process \d of 2 was killed by SIGKILL: the same command", line)
    assert not list((tmp_path / "killed").rglob("manifest.json"))
    reached = max(finished_steps(tmp_path / "killed"))

    process = start(config, "killed")
    wait_until(lambda: max(finished_steps(tmp_path / "killed")) > reached, process)
    workers = workers_of(process)
    process.kill()
    process.communicate()
    psutil.wait_procs(workers, timeout=10)
    assert len(workers) == 2 and not any(worker.is_running() for worker in workers)

    assert finish(start(config, "killed")) == undisturbed


@pytest.mark.slow
def test_a_mistake_met_by_the_processes_is_the_stages_own(
    make_config: MakeConfig, inputs: dict[str, Artifact], tmp_path: Path
) -> None:
    config = make_config(processes=2, sampling={"tau_range": (3, 4)})
    with pytest.raises(UserError, match="none of the 4 sampling steps has a timestep from 3 to 4") as alone:
        run(make_config(sampling={"tau_range": (3, 4)}), inputs, Store(str(tmp_path / "alone")))
    previous = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
    with pytest.raises(UserError) as together:
        run(config, inputs, Store(str(tmp_path / "together")))
    assert str(together.value) == str(alone.value)
    assert (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)) == previous


@pytest.mark.slow
def test_processes_start_from_any_thread(make_config: MakeConfig, inputs: dict[str, Artifact], tmp_path: Path) -> None:
    job = Job(config=make_config(steps=1, processes=2, batch_size=1), inputs=inputs, folder=tmp_path, run_name="run")
    thread = threading.Thread(target=run_in_processes, args=(job,))
    thread.start()
    thread.join(PATIENCE_SECONDS)
    assert [row["step"] for row in job.read_history()] == [1]


def test_what_lies_in_the_working_folder_takes_no_packages_place(
    make_config: MakeConfig, inputs: dict[str, Artifact], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder of the user's named data, or a module of the user's, is no package of ours."""
    started: list[list[str]] = []

    def note(_name: str, program: str, *, args: dict[int, tuple[str, ...]], **_: Any) -> None:
        started.append([program, *args[0]])
        raise KeyboardInterrupt

    monkeypatch.setattr("torch.distributed.elastic.multiprocessing.start_processes", note)
    job = Job(config=make_config(processes=2), inputs=inputs, folder=tmp_path, run_name="run")
    with pytest.raises(KeyboardInterrupt):
        run_in_processes(job)
    (command,) = started
    for package in ("data", "stages", "torch"):
        (tmp_path / "here" / package).mkdir(parents=True)
        (tmp_path / "here" / package / "__init__.py").write_text("raise SystemExit('the wrong package')")
    options = command[1 : command.index("-m")]
    program = "import data, stages.train.processes.worker as worker; print(data.__file__, worker.__file__)"
    found = subprocess.run(
        [command[0], *options, "-c", program], cwd=tmp_path / "here", capture_output=True, text=True, check=True
    )
    assert str(tmp_path) not in found.stdout
    assert command[command.index("-m") + 1] == "stages.train.processes.worker"


def test_one_process_needs_no_launcher(
    make_config: MakeConfig, inputs: dict[str, Artifact], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(launching_module, "_workers")
    assert run(make_config(steps=1), inputs, Store(str(tmp_path / "store"))).files("lora/")


def test_a_job_travels_as_json(make_config: MakeConfig, inputs: dict[str, Artifact], tmp_path: Path) -> None:
    job = Job(config=make_config(processes=2), inputs=inputs, folder=tmp_path, run_name="run")
    assert Job.model_validate(json.loads(job.model_dump_json())) == job


@pytest.mark.parametrize(
    ("device", "message"),
    [
        ("auto", "2 training processes need a GPU each, and there are 1 .train.processes.: lower train.processes"),
        ("cuda:0", "2 processes cannot share the device 'cuda:0' .train.device.: write auto, cuda or cpu"),
    ],
)
def test_more_processes_than_gpus_are_refused(
    make_config: MakeConfig,
    inputs: dict[str, Artifact],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    device: str,
    message: str,
) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    job = Job(config=make_config(processes=2, device=device), inputs=inputs, folder=tmp_path, run_name="run")
    with pytest.raises(UserError) as caught:
        run_in_processes(job)
    assert re.match(message, str(caught.value))
