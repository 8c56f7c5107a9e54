"""Of the errors of several processes, the one that the others followed from is told."""

import signal
from pathlib import Path

import pytest
from torch.distributed.elastic.multiprocessing.errors import ProcessFailure

from comat_core.support.errors import UserError
from stages.train.processes.failures import FailureRecord, TrainingProcessError, are_left_alone, raise_root_cause
from stages.train.processes.termination import TrainingStopped


def failure(rank: int, folder: Path, error: BaseException | None = None, killed_by: int = 0) -> ProcessFailure:
    """A process that raised an error, or that a signal ended."""
    path = folder / f"{rank}.json"
    if error is not None:
        FailureRecord.of(error).write(path)
    return ProcessFailure(local_rank=rank, pid=100 + rank, exitcode=-killed_by or 1, error_file=str(path))


def lost_peer() -> Exception:
    """What a process raises in a collective whose other side is gone."""
    namespace: dict[str, object] = {}
    source = "def all_reduce():\n    raise RuntimeError('Connection closed by peer')\n"
    exec(compile(source, "/site-packages/torch/distributed/distributed_c10d.py", "exec"), namespace)
    return caught(namespace["all_reduce"])


def caught(function: object) -> Exception:
    try:
        function()  # type: ignore[operator]
    except Exception as error:
        return error
    raise AssertionError


def test_a_users_mistake_comes_back_as_it_was_raised(tmp_path: Path) -> None:
    mistake = UserError("no such model folder", "model path x", "give an existing folder or a hub id")
    failures = [failure(0, tmp_path, killed_by=signal.SIGKILL), failure(1, tmp_path, mistake)]
    with pytest.raises(UserError) as raised:
        raise_root_cause(failures, 2)
    assert str(raised.value) == str(mistake)


def test_an_error_comes_before_what_the_others_met_in_a_collective(tmp_path: Path) -> None:
    own = caught(lambda: [][0])
    failures = [failure(0, tmp_path, lost_peer()), failure(1, tmp_path, own)]
    with pytest.raises(TrainingProcessError) as raised:
        raise_root_cause(failures, 2)
    assert str(raised.value) == "training process 2 of 2 failed: IndexError: list index out of range"
    assert any("Traceback" in note for note in raised.value.__notes__)


def test_a_kill_comes_before_what_the_others_met_in_a_collective(tmp_path: Path) -> None:
    failures = [failure(0, tmp_path, lost_peer()), failure(1, tmp_path, killed_by=signal.SIGKILL)]
    with pytest.raises(TrainingProcessError, match="training process 2 of 2 was killed by SIGKILL: the same command"):
        raise_root_cause(failures, 2)


def test_an_error_comes_before_the_kill_of_those_who_hung_after_it(tmp_path: Path) -> None:
    failures = [failure(0, tmp_path, killed_by=signal.SIGKILL), failure(1, tmp_path, ValueError("odd"))]
    with pytest.raises(TrainingProcessError, match="training process 2 of 2 failed: ValueError: odd"):
        raise_root_cause(failures, 2)


def test_a_stop_by_signal_stays_one(tmp_path: Path) -> None:
    stop = TrainingStopped("training stopped by a signal after step 3; run again to go on")
    failures = [failure(0, tmp_path, killed_by=signal.SIGTERM), failure(1, tmp_path, stop)]
    with pytest.raises(TrainingStopped, match="after step 3"):
        raise_root_cause(failures, 2)


def test_processes_that_only_lost_their_peers_have_the_cause_elsewhere(tmp_path: Path) -> None:
    alone = [failure(0, tmp_path, lost_peer()), failure(1, tmp_path, lost_peer())]
    assert are_left_alone(alone)
    assert not are_left_alone([*alone, failure(2, tmp_path, caught(lambda: [][0]))])
    assert not are_left_alone([*alone, failure(3, tmp_path, killed_by=signal.SIGKILL)])


def test_a_process_is_named_with_its_machine(tmp_path: Path) -> None:
    with pytest.raises(TrainingProcessError, match="training process 1 of 2 on machine 2 of 3 failed: IndexError"):
        raise_root_cause([failure(0, tmp_path, caught(lambda: [][0]))], 2, " on machine 2 of 3")
