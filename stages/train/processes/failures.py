"""Why a training process failed: written by the process, told by its parent as one error."""

import signal
import time
import traceback
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from pydantic import BaseModel

from comat_core.files.whole_files import write_whole
from comat_core.support.errors import UserError
from stages.train.processes.termination import TrainingStopped

if TYPE_CHECKING:
    from torch.distributed.elastic.multiprocessing.errors import ProcessFailure


class TrainingProcessError(RuntimeError):
    """A training process failed, or was killed."""


class FailureRecord(BaseModel):
    """The error of one process. `message` and `timestamp` are what torch's launcher expects in the file."""

    message: str
    timestamp: int
    kind: str
    """Name of the exception's class."""
    user_error: tuple[str, str, str] | None = None
    """What, where and what to do, if it is a user's mistake."""
    in_collective: bool = False
    """Raised while it waited for the other processes: most likely one of them failed first."""
    trace: str = ""

    @classmethod
    def of(cls, error: BaseException) -> "FailureRecord":
        """Describe an exception that is being handled."""
        frames = traceback.extract_tb(error.__traceback__)
        return cls(
            message=str(error),
            timestamp=int(time.time()),
            kind=type(error).__name__,
            user_error=(error.what, error.where, error.what_to_do) if isinstance(error, UserError) else None,
            in_collective=bool(frames) and "distributed" in Path(frames[-1].filename).parts,
            trace="".join(traceback.format_exception(error)),
        )

    def write(self, path: Path) -> None:
        """Write it as JSON, never half."""
        write_whole(path, self.model_dump_json().encode())


def are_left_alone(failures: "Collection[ProcessFailure]") -> bool:
    """Whether all that failed did so while they waited for others: then the cause lies on another machine."""
    records = [_record(failure) for failure in failures]
    return all(record is not None and record.in_collective for record in records)


def raise_root_cause(failures: "Collection[ProcessFailure]", processes: int, place: str = "") -> NoReturn:
    """Raise the error that the others followed from.

    A user's mistake explains everything. An error of its own comes before a kill, because whoever is left after an
    error may have to be killed; a kill comes before an error in a collective, which is how the others notice it.

    Args:
        failures: of the processes that failed, in the order in which they were noticed.
        place: " on machine 1 of 2", if there are several.

    Raises:
        UserError, TrainingStopped: as the process raised it.
        TrainingProcessError: for every other error, and for a process that was killed.
    """
    first = min(failures, key=lambda failure: _rank(failure, _record(failure)))
    record = _record(first)
    where = f"training process {first.local_rank + 1} of {processes}{place}"
    if record is None and first.exitcode < 0:
        advice = "the same command goes on from the last checkpoint (if memory ran out, lower train.batch_size)"
        raise TrainingProcessError(f"{where} was killed by {signal.Signals(-first.exitcode).name}: {advice}")
    if record is None:
        raise TrainingProcessError(f"{where} ended with exit code {first.exitcode}; why stands in its output above")
    if record.user_error is not None:
        raise UserError(*record.user_error)
    if record.kind == TrainingStopped.__name__:
        raise TrainingStopped(record.message)
    error = TrainingProcessError(f"{where} failed: {record.kind}: {record.message}")
    error.add_note(record.trace)
    raise error


def _rank(failure: "ProcessFailure", record: FailureRecord | None) -> int:
    """Lower is more likely the root cause."""
    if record is None:
        return 4 if failure.exitcode == -signal.SIGTERM else 2
    if record.user_error is not None or record.kind == TrainingStopped.__name__:
        return 0
    return 3 if record.in_collective else 1


def _record(failure: "ProcessFailure") -> FailureRecord | None:
    """The process's own account; None if it left none."""
    data = failure.error_file_data
    return FailureRecord.model_validate(data) if "kind" in data else None
