"""A checkpoint holds all that a run needs to go on, counts only when it is whole, and only the last ones stay."""

import gc
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from comat_core.support.errors import UserError
from stages.store.artifacts import Artifact
from stages.store.store import Store
from stages.train import TrainConfig, run
from stages.train.learning.state import MARKER, TENSORS, TrainingState, checkpoints
from stages.train.models import load_models, make_trainee
from stages.train.processes.job import Job
from tests.small_disk import fill, small_disk
from tests.stages.train.killed_runs import run_killed_once

MakeConfig = Callable[..., TrainConfig]
FULL: dict[str, Any] = {
    "batch_size": 1,
    "gradient_accumulation": 2,
    "online": {"schedule": "cosine", "warmup_steps": 2},
    "discriminator": {"schedule": "linear"},
}
"""Settings in which every part of the state changes from step to step."""


@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
def test_a_run_killed_in_the_middle_resumes_to_the_same_result(
    make_config: MakeConfig, inputs: dict[str, Artifact], tmp_path: Path, precision: str
) -> None:
    config = make_config(steps=5, precision=precision, checkpoints={"every": 2, "keep": 1}, **FULL)
    undisturbed = run(config, inputs, Store(str(tmp_path / "undisturbed")))

    resumed, begun = run_killed_once(config, inputs, Store(str(tmp_path / "disturbed")), in_step=3)
    assert begun == [0, 1, 2, 3, 2, 3, 4], "steps 0 and 1 stand in the checkpoint; the others are made again"
    assert resumed.manifest.digest == undisturbed.manifest.digest


def test_it_holds_parameters_optimisers_schedules_scaler_generators_and_position(
    make_config: MakeConfig, inputs: dict[str, Artifact], tmp_path: Path
) -> None:
    config = make_config(steps=3, precision="fp16", checkpoints={"every": 3}, **FULL)
    job = Job(config=config, inputs=inputs, folder=tmp_path, run_name="run")
    job.run()
    (folder,) = checkpoints(job.checkpoint_folder)
    tensors, numbers = load_file(folder / TENSORS), json.loads((folder / MARKER).read_text())
    kinds = {"/".join(name.split("/")[:2]) for name in tensors}
    moments = {f"{role}/{kind}" for role in ("online", "discriminator") for kind in ("exp_avg", "exp_avg_sq", "step")}
    assert moments | {"online/parameter", "discriminator/parameter"} <= kinds
    assert {"random/torch", "random/numpy", "random/python"} <= kinds
    assert tensors["random/torch"].shape == (1, len(torch.get_rng_state()))
    assert numbers["step"] == len(numbers["history"]) == 3
    for role in ("online", "discriminator"):
        taken = next(value.item() for name, value in tensors.items() if name.startswith(f"{role}/step/"))
        assert numbers["schedules"][role]["last_epoch"] == taken, "a skipped step moves no schedule"
    rate = config.discriminator.learning_rate
    assert numbers["optimizers"]["discriminator"][0]["lr"] == pytest.approx(rate * (1 - taken / 3))
    assert numbers["scaler"]["scale"] > 0


def test_one_without_its_marker_does_not_count(tmp_path: Path) -> None:
    (tmp_path / "step-0000002").mkdir()
    (tmp_path / "step-0000002" / TENSORS).write_bytes(b"half")
    assert checkpoints(tmp_path) == []


def test_a_kill_while_saving_leaves_the_one_before(
    make_config: MakeConfig, inputs: dict[str, Artifact], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = make_config(steps=3, checkpoints={"every": 1, "keep": 1})
    job = Job(config=config, inputs=inputs, folder=tmp_path / "killed", run_name="run")
    original = Path.replace

    def die_before_the_second(self: Path, target: Path) -> Path:
        if self.name == ".step-0000002":
            raise KeyboardInterrupt
        return original(self, target)

    monkeypatch.setattr(Path, "replace", die_before_the_second)
    with pytest.raises(KeyboardInterrupt):
        job.run()
    assert [path.name for path in checkpoints(job.checkpoint_folder)] == ["step-0000001"]
    monkeypatch.undo()
    job.run()
    whole = Job(config=config, inputs=inputs, folder=tmp_path / "whole", run_name="run")
    whole.run()
    assert job.read_history() == whole.read_history()
    assert [path.name for path in job.checkpoint_folder.iterdir()] == ["step-0000003"]


@pytest.mark.parametrize("pages", [4, 40, 100])
def test_a_full_disk_is_told_and_the_next_run_goes_on(
    make_config: MakeConfig, inputs: dict[str, Artifact], tmp_path: Path, pages: int
) -> None:
    """However far the space reaches: not into the first checkpoint, or past some of them."""
    config = make_config(steps=3, checkpoints={"every": 1, "keep": 9})
    whole = Job(config=config, inputs=inputs, folder=tmp_path / "whole", run_name="run")
    whole.run()
    with small_disk(tmp_path / "disk", size=16 * 2**20) as disk:
        job = Job(config=config, inputs=inputs, folder=disk, run_name="run")
        ballast = fill(disk, leave=pages)
        with pytest.raises(UserError, match=r"cannot write .*(No space left on device|disk is full).*free some space"):
            job.run()
        assert not list(disk.glob("checkpoints/.*")), "half a checkpoint would keep the disk full"
        ballast.unlink()
        job.run()
        assert job.read_history() == whole.read_history()
        gc.collect()  # the failed run's frames hold files open, and the disk could not be taken off


def test_only_the_last_ones_stay(
    make_config: MakeConfig, inputs: dict[str, Artifact], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[list[str]] = []
    original = TrainingState.save

    def save(self: TrainingState, folder: Path, random_states: dict[str, torch.Tensor], *, keep: int) -> None:
        original(self, folder, random_states, keep=keep)
        seen.append([path.name for path in checkpoints(folder)])

    monkeypatch.setattr(TrainingState, "save", save)
    run(make_config(steps=4, checkpoints={"every": 1, "keep": 2}), inputs, Store(str(tmp_path / "store")))
    assert seen[-1] == ["step-0000003", "step-0000004"]


def test_it_can_be_handed_to_processes_that_do_not_see_its_folder(
    make_config: MakeConfig, inputs: dict[str, Artifact], tmp_path: Path
) -> None:
    config = make_config(steps=2, precision="fp16", checkpoints={"every": 2}, **FULL)
    job = Job(config=config, inputs=inputs, folder=tmp_path, run_name="run")
    job.run()

    def fresh_state() -> TrainingState:
        trainee = make_trainee(config, load_models(config, torch.device("cpu")))
        return TrainingState(trainee, torch.amp.GradScaler("cpu", enabled=True))

    read, given = fresh_state(), fresh_state()
    generators = read.restore_latest(job.checkpoint_folder)
    assert generators is not None
    received = given.unpack(read.pack(generators))
    torch.testing.assert_close(received, generators, equal_nan=True)
    assert given.pack(received) == read.pack(generators)
    assert given.step == 2 and len(given.history) == 2
