"""TensorBoard always, other trackers by setting, and no secret in what they or the artifact hold."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import pytest
from accelerate.tracking import LOGGER_TYPE_TO_CLASS, GeneralTracker
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

import stages.train.tracking.trackers as trackers_module
from comat_core.support.errors import UserError
from stages.store.artifacts import Artifact
from stages.store.store import Store
from stages.train import TrainConfig, run
from tests.stages.train.killed_runs import run_killed_once

MakeConfig = Callable[..., TrainConfig]


class RecordingTracker(GeneralTracker):
    """Keeps what it is given."""

    name = "recording"
    requires_logging_directory = False
    main_process_only = True
    seen: ClassVar[list[tuple[Any, ...]]] = []

    def __init__(self, run_name: str) -> None:
        super().__init__()
        self.seen.append(("start", run_name))

    @property
    def tracker(self) -> list[tuple[Any, ...]]:
        return self.seen

    def log(self, values: dict[str, Any], step: int | None = None, **kwargs: Any) -> None:  # noqa: ARG002
        self.seen.append(("log", step, sorted(values)))

    def log_images(self, values: dict[str, Any], step: int | None = None, **kwargs: Any) -> None:  # noqa: ARG002
        self.seen.append(("images", step, [(name, len(images)) for name, images in values.items()]))

    def finish(self) -> None:
        self.seen.append(("finish",))


def test_trackers_named_in_the_settings_get_what_tensorboard_gets(
    make_config: MakeConfig, inputs: dict[str, Artifact], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(LOGGER_TYPE_TO_CLASS, "recording", RecordingTracker)
    monkeypatch.setenv("WANDB_API_KEY", "secret-of-the-test")
    config = make_config(steps=2, tracking={"trackers": ("recording",)})
    artifact = run(config, inputs, Store(str(tmp_path / "store")))

    seen = RecordingTracker.seen
    assert seen[0] == ("start", artifact.key) and seen[-1] == ("finish",)
    assert [entry[1] for entry in seen if entry[0] == "log"] == [1, 2]
    assert ("images", 0, [("validation", 4)]) in seen and ("images", 2, [("batch", 2)]) in seen
    logs = EventAccumulator(str(tmp_path / "logs" / artifact.key))
    logs.Reload()
    names = next(entry[2] for entry in seen if entry[0] == "log")
    assert names == sorted(logs.Tags()["scalars"])
    for file in (path for path in tmp_path.rglob("*") if path.is_file()):
        assert b"secret-of-the-test" not in file.read_bytes(), file


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("wandb", "the tracker 'wandb' is not installed .train.tracking.trackers.: pip install wandb, or leave it out"),
        ("wendb", "there is no tracker 'wendb' .train.tracking.trackers.: choose from .*wandb"),
    ],
)
def test_a_tracker_that_cannot_be_used_is_refused_before_any_work(
    make_config: MakeConfig,
    inputs: dict[str, Artifact],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    message: str,
) -> None:
    monkeypatch.setattr(trackers_module, "get_available_trackers", lambda: ["tensorboard"])
    with pytest.raises(UserError) as caught:
        run(make_config(tracking={"trackers": (name,)}), inputs, Store(str(tmp_path / "store")))
    assert re.match(message, str(caught.value))
    assert not list((tmp_path / "store").rglob("checkpoints"))


def test_what_a_killed_run_logged_after_its_checkpoint_is_shown_once(
    make_config: MakeConfig, inputs: dict[str, Artifact], tmp_path: Path
) -> None:
    config = make_config(steps=4, checkpoints={"every": 2})
    artifact, _ = run_killed_once(config, inputs, Store(str(tmp_path / "store")), in_step=3)
    logs = EventAccumulator(str(tmp_path / "logs" / artifact.key))
    logs.Reload()
    assert [event.step for event in logs.Scalars("total")] == [1, 2, 3, 4]
