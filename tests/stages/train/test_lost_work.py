"""A training whose work another run has taken over saves nothing more; logs that cannot be written are told first."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import stages.train.loop as loop_module
from comat_core.support.errors import UserError
from stages.plan import pipeline
from stages.plan.pipeline import make_plan
from stages.plan.presets import load_preset
from stages.store import locks
from stages.store.artifacts import Artifact
from stages.store.filesystem import Folder
from stages.store.lease_holders import Holder
from stages.store.locks import LeaseLostError
from stages.store.store import Condition, Store
from stages.train import STAGE, TrainConfig, run
from stages.train.learning.state import checkpoints
from stages.train.processes.job import Job

MakeConfig = Callable[..., TrainConfig]


def take_over(store: Path) -> None:
    """Hold every lease of a store instead of its holder, as another machine does."""
    folder = Folder(str(store / ".leases"))
    holder = Holder.of_this_process().model_copy(update={"boot": "another"})
    for name in folder.sizes():
        folder.write(name, holder.as_json())


@pytest.fixture
def lost_in_the_third_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the run stand still in its third step until another one has taken its work over."""
    monkeypatch.setattr(locks, "CONFIRMED_SECONDS", 0.0)
    original = loop_module.online_step

    def stand_still(training_run: Any, state: Any) -> Any:
        if state.step == 2:
            take_over(tmp_path / "store")
        return original(training_run, state)

    monkeypatch.setattr(loop_module, "online_step", stand_still)


@pytest.mark.usefixtures("lost_in_the_third_step")
def test_nothing_is_saved_once_the_work_is_another_runs(
    make_config: MakeConfig, inputs: dict[str, Artifact], tmp_path: Path
) -> None:
    config, store = make_config(steps=5, checkpoints={"every": 1}), Store(str(tmp_path / "store"))
    with pytest.raises(LeaseLostError, match="another run has taken this work over"):
        run(config, inputs, store)
    key = STAGE.key_for(config, inputs)
    folder = store.folder("train", key).working_folder() / "checkpoints"
    assert [path.name for path in checkpoints(folder)] == ["step-0000001", "step-0000002"]
    assert store.look_up("train", key).condition is Condition.MISSING


@pytest.mark.slow
def test_several_processes_end_alike(make_config: MakeConfig, inputs: dict[str, Artifact], tmp_path: Path) -> None:
    """They look for themselves: the process that started them may be the one that stands still."""
    store = Store(str(tmp_path / "store"))
    config = make_config(steps=500, processes=2, batch_size=1, checkpoints={"every": 1})
    key = STAGE.key_for(config, inputs)
    folder = store.folder("train", key).working_folder() / "checkpoints"
    renew = locks.Lease.renew
    try:
        # The renewals of this process see the loss as well, and tell nobody.
        locks.Lease.renew = lambda held: take_over(tmp_path / "store") if checkpoints(folder) else renew(held)  # type: ignore[method-assign]
        locks.RENEWAL_SECONDS, seconds = 0.2, locks.RENEWAL_SECONDS
        with pytest.raises(UserError, match="another run has taken this work over"):
            run(config, inputs, store)
    finally:
        locks.Lease.renew, locks.RENEWAL_SECONDS = renew, seconds  # type: ignore[method-assign]
    assert store.look_up("train", key).condition is Condition.MISSING


def test_a_folder_for_logs_that_cannot_be_is_told_before_anything_is_built(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    plan = make_plan(load_preset("miniature", [f"train.tracking.folder={tmp_path}/file/logs"]).sections)
    store = Store(str(tmp_path / "store"))
    with pytest.raises(UserError, match=r"cannot write the training's logs.*choose another train.tracking.folder"):
        pipeline.fetch_files(plan, {"train"}, set(), store)
    pipeline.fetch_files(plan, {"prompts"}, set(), store)  # which writes none


def test_it_is_told_before_a_training_loads_anything(
    make_config: MakeConfig, inputs: dict[str, Artifact], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setattr(Job, "run", lambda _: pytest.fail("it began"))
    config = make_config(tracking={"folder": str(tmp_path / "file" / "logs")})
    with pytest.raises(UserError, match="cannot write the training's logs"):
        run(config, inputs, Store(str(tmp_path / "store")))


def test_a_home_folder_is_resolved_for_the_logs(
    make_config: MakeConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    config = make_config(tracking={"folder": "~/logs"})
    assert config.tracking.logs == tmp_path / "logs"
