"""A damaged checkpoint costs the steps since the one before, and never the whole ones."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from stages.train.learning.state import MARKER, TENSORS, TrainingState, checkpoints
from stages.train.models import Learner, Trainee

Damage = Callable[[Path], object]


def truncate(folder: Path) -> None:
    (folder / TENSORS).write_bytes((folder / TENSORS).read_bytes()[:-9])


def flip_a_bit(folder: Path) -> None:
    content = bytearray((folder / TENSORS).read_bytes())
    content[-9] ^= 4
    (folder / TENSORS).write_bytes(content)


def forget_a_tensor(folder: Path) -> None:
    """As an earlier version wrote it, which kept no digest, and then damaged."""
    marker = json.loads((folder / MARKER).read_text())
    del marker["tensors"]
    (folder / MARKER).write_text(json.dumps(marker))
    content = (folder / TENSORS).read_bytes()
    (folder / TENSORS).write_bytes(content.replace(b'"online/parameter/', b'"online/otherthin/', 1))


def rename_a_role(folder: Path) -> None:
    (folder / MARKER).write_text((folder / MARKER).read_text().replace('"discriminator"', '"somethingelse"'))


DAMAGES: dict[str, tuple[Damage, str]] = {
    "truncated tensors": (truncate, "state.safetensors has other content than when it was written"),
    "flipped bit": (flip_a_bit, "state.safetensors has other content than when it was written"),
    "no tensors": (lambda folder: (folder / TENSORS).unlink(), "there is no such file"),
    "other tensors": (forget_a_tensor, "state.safetensors is of other parameters"),
    "other learners": (rename_a_role, "state.json is of other learners"),
    "empty marker": (lambda folder: (folder / MARKER).write_bytes(b""), "Expecting value"),
    "half a marker": (lambda folder: (folder / MARKER).write_text('{"step": 2, "his'), "Unterminated string"),
    "marker of another kind": (lambda folder: (folder / MARKER).write_text("[1]"), "1 validation error for Numbers"),
    "nested marker": (lambda folder: (folder / MARKER).write_text("[" * 100_000), "recursion"),
    "no text": (lambda folder: (folder / MARKER).write_bytes(b"\xff\xfe"), ""),
}


def learner(seed: int) -> Learner:
    generator = torch.Generator().manual_seed(seed)
    parameters = {name: nn.Parameter(torch.randn(3, 2, generator=generator)) for name in ("a", "b")}
    optimizer = torch.optim.AdamW(parameters.values(), lr=0.1)
    return Learner(parameters, optimizer, torch.optim.lr_scheduler.LinearLR(optimizer), gradient_clip=1.0)


def new_state() -> TrainingState:
    """The state of a training of a few numbers, before its first step."""
    return TrainingState(Trainee(learner(1), learner(2)), torch.amp.GradScaler("cpu", enabled=False))


def step(state: TrainingState) -> None:
    for one in (state.trainee.online, state.trainee.discriminator):
        assert one is not None
        for parameter in one.parameters.values():
            parameter.grad = parameter.detach() * (state.step + 1)
        one.optimizer.step()
        one.schedule.step()
    state.step += 1
    state.history.append({"step": float(state.step)})


def save(state: TrainingState, folder: Path, keep: int = 3) -> None:
    state.save(folder, {"torch": torch.tensor([state.step])}, keep=keep)


def weights(state: TrainingState) -> list[float]:
    return [value for _, one in sorted(state._tensors().items()) for value in one.flatten().tolist()]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """With the checkpoints of the steps 1, 2 and 3."""
    state = new_state()
    for _ in range(3):
        step(state)
        save(state, tmp_path)
    return tmp_path


def expected_after(steps: int) -> TrainingState:
    state = new_state()
    for _ in range(steps):
        step(state)
    return state


@pytest.mark.parametrize(("damage", "reason"), DAMAGES.values(), ids=DAMAGES.keys())
def test_training_goes_on_from_the_one_before_and_says_so(
    folder: Path, damage: Damage, reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    damage(checkpoints(folder)[-1])
    state = new_state()
    random_states = state.restore_latest(folder)
    assert random_states is not None and random_states["torch"].tolist() == [2]
    assert (state.step, state.history) == (2, [{"step": 1.0}, {"step": 2.0}])
    assert weights(state) == weights(expected_after(2)), "of the damaged one nothing is put to use"
    (line,) = caplog.messages
    assert line.startswith("checkpoint step-0000003 is damaged (") and reason in line
    assert line.endswith("): training goes on from step-0000002")


def test_a_whole_one_is_restored_in_silence(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    state = new_state()
    state.restore_latest(folder)
    assert weights(state) == weights(expected_after(3))
    assert caplog.messages == []


def test_one_process_of_several_tells(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    truncate(checkpoints(folder)[-1])
    new_state().restore_latest(folder, tell=False)
    assert caplog.messages == []


def test_with_all_of_them_damaged_it_begins_anew_and_says_so(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    for path in checkpoints(folder):
        truncate(path)
    state = new_state()
    assert state.restore_latest(folder) is None
    assert weights(state) == weights(new_state())
    (line,) = caplog.messages
    assert line.count("is damaged") == 3
    assert line.endswith(": there is no older one, and training begins anew")


def test_a_damaged_one_takes_no_whole_ones_place(folder: Path) -> None:
    """Its step is later than those that are made after it, and only the last ones are kept."""
    truncate(checkpoints(folder)[-1])
    shutil.move(checkpoints(folder)[-1], folder / "step-0000009")
    state = new_state()
    state.restore_latest(folder)
    step(state)
    save(state, folder, keep=1)
    assert [path.name for path in checkpoints(folder)] == ["step-0000003"]
    restored = new_state()
    restored.restore_latest(folder)
    assert weights(restored) == weights(expected_after(3))


def test_one_of_an_earlier_version_is_gone_on_from(folder: Path) -> None:
    for path in checkpoints(folder):
        marker = json.loads((path / MARKER).read_text())
        del marker["tensors"]
        (path / MARKER).write_text(json.dumps(marker))
    state = new_state()
    state.restore_latest(folder)
    assert weights(state) == weights(expected_after(3))
