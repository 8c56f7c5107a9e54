"""One training on two machines, both here: the same model as on one, and what becomes of it when one is killed."""

import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from safetensors.torch import load_file

from comat_core.support.errors import UserError
from stages.store.artifacts import Artifact
from stages.train import TrainConfig
from stages.train.learning.state import TENSORS, checkpoints
from stages.train.processes.job import Job
from stages.train.processes.launching import processes_of_a_machine
from tests.stages.train.run_stage import Request
from tests.stages.train.test_data_parallel import TOLERANCE, Parameters, distance
from tests.stages.train.test_processes import PATIENCE_SECONDS, ROOT, finished_steps, wait_until, workers_of

STEPS = 4
Start = Callable[[TrainConfig, str, bool], list[subprocess.Popen[str]]]


@pytest.fixture
def start(inputs: dict[str, Artifact], tmp_path: Path) -> Iterator[Start]:
    """Start a training on two machines over a store of the given name, by a static rendezvous or not."""
    started: list[subprocess.Popen[str]] = []

    def start_machines(config: TrainConfig, store: str, static: bool) -> list[subprocess.Popen[str]]:
        request = tmp_path / "request.json"
        request.write_text(Request(config=config, inputs=inputs, store=str(tmp_path / store)).model_dump_json())
        with socket.socket() as found:
            found.bind(("127.0.0.1", 0))
            endpoint = f"127.0.0.1:{found.getsockname()[1]}"
        for rank in ("0", "1"):
            command = [sys.executable, "-m", "tests.stages.train.run_machine", str(request), endpoint, "2"]
            command.append(rank if static else "-")
            pipe = subprocess.PIPE
            started.append(subprocess.Popen(command, cwd=ROOT, text=True, stdout=pipe, stderr=pipe))
        return started[-2:]

    yield start_machines
    for process in started:
        process.kill()
        process.communicate()


def parameters_in(folder: Path) -> Parameters:
    """Every parameter that learns, from the newest checkpoint."""
    tensors = load_file(checkpoints(folder)[-1] / TENSORS)
    return {name: value for name, value in tensors.items() if "/parameter/" in name}


def finish(processes: list[subprocess.Popen[str]]) -> str:
    """The digest that the first machine prints, once both have ended well."""
    outputs = [process.communicate(timeout=PATIENCE_SECONDS) for process in processes]
    assert [process.returncode for process in processes] == [0, 0], outputs
    (digest,) = [output.splitlines()[-1] for output, _ in outputs if output]
    return digest


@pytest.mark.slow
def test_two_machines_train_as_one_process_does_and_a_killed_one_ends_both(
    make_config: Callable[..., TrainConfig], inputs: dict[str, Artifact], start: Start, tmp_path: Path
) -> None:
    # What one process sees in a batch of four, four processes see in batches of one.
    settings = {"steps": STEPS, "checkpoints": {"every": 1, "keep": STEPS}}
    alone = Job(
        config=make_config(**settings, batch_size=4, pair_batch_size=4),
        inputs=inputs,
        folder=tmp_path / "alone",
        run_name="run",
    )
    alone.run()
    config = make_config(**settings, processes=4, batch_size=1, pair_batch_size=1)

    # The second machine is killed in the middle.
    store = tmp_path / "store"
    first, second = start(config, "store", True)
    wait_until(lambda: finished_steps(store), first)
    workers = workers_of(first)
    assert len(workers) == len(workers_of(second)) == 2
    second.send_signal(signal.SIGKILL)
    _, told = first.communicate(timeout=PATIENCE_SECONDS)
    print(told.splitlines()[-1])
    assert first.returncode == 1
    assert told.splitlines()[-1] == "comat: machine 2 of 2 has not been heard of for 30 s"
    assert not any(worker.is_running() for worker in workers)
    assert not list(store.rglob("manifest.json"))
    (folder,) = store.rglob("checkpoints")
    kept = parameters_in(folder)
    step = max(finished_steps(store))

    # Both are started again, and find each other in the other way.
    digest = finish(start(config, "store", False))
    assert not [path for path in store.rglob("data-*") if path.is_dir()]

    # The LoRA is delivered; compare with the one that a process trained alone.
    (lora,) = store.rglob("pytorch_lora_weights.safetensors")
    reference = load_file(tmp_path / "alone" / "lora" / "pytorch_lora_weights.safetensors")
    gap = distance(load_file(lora), reference, "")
    moved = distance(reference, _untrained(make_config, inputs, tmp_path), "")
    print(f"stopped after step {step}, then {digest[:12]}; moved {moved:.4g}, gap {gap / moved:.3g}")
    assert kept.keys() == parameters_in(tmp_path / "alone" / "checkpoints").keys()
    assert gap / moved < TOLERANCE


def _untrained(make_config: Callable[..., TrainConfig], inputs: dict[str, Artifact], folder: Path) -> Parameters:
    standing_still = {"learning_rate": 1e-12}
    config = make_config(steps=1, online=standing_still, discriminator=standing_still)
    job = Job(config=config, inputs=inputs, folder=folder / "start", run_name="run")
    job.run()
    return load_file(job.lora_folder / "pytorch_lora_weights.safetensors")


def test_processes_are_divided_evenly_or_not_at_all(make_config: Callable[..., TrainConfig]) -> None:
    assert processes_of_a_machine(make_config(processes=6), 3) == 2
    with pytest.raises(UserError, match=r"6 training processes cannot be divided among 4 machines \(train.processes\)"):
        processes_of_a_machine(make_config(processes=6), 4)
