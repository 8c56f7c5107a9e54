"""Answers on disk: one file of JSON lines per rater, only ever appended to.

An answer is on the disk before `AnswerBook.add` returns. Of several answers of one rater to one question the last one
counts. A line without its end is one that a kill or a full disk cut short before it was acknowledged: it is dropped.
"""

import errno
import fcntl
import json
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from pydantic import BaseModel, ConfigDict

from comat_core.files.json_files import parse_json
from comat_core.files.regular_files import read_file
from comat_core.support.errors import UserError
from data.formats.records import fitted
from stages.studies.preference.folder import ANSWERS, Choice, PairName, Question, Study

LOCK: Final = ".served"
LARGEST_FILE: Final = 64 * 2**20  # bytes; some hundred thousand answers
ADVICE: Final = "put the file back as it was, or remove the line"

Answers = dict[tuple[str, Question], Choice]
"""(pair, question) -> choice of one rater."""


class Answer(BaseModel):
    """What a rater chose."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    pair: PairName
    question: Question
    choice: Choice


class AnswerBook:
    """The answers of all raters, read once and then kept in step with the files. For several threads."""

    def __init__(self, folder: Path, study: Study, raters: list[int]) -> None:
        """Read what there is.

        Raises:
            UserError: a file is damaged.
        """
        self._folder = folder
        self._pairs = {pair.pair for pair in study.pairs}
        self._answers = {rater: read_answers(folder, rater, self._pairs) for rater in raters}
        self._turn = threading.Lock()

    def of(self, rater: int) -> Answers:
        """A rater's answers so far."""
        with self._turn:
            return dict(self._answers[rater])

    def add(self, rater: int, answer: Answer) -> None:
        """Write an answer, and return when the disk has it.

        Raises:
            UserError: there is no such pair.
            OSError: the disk does not take it; nothing has changed then.
        """
        if answer.pair not in self._pairs:
            raise UserError(f"there is no pair {answer.pair}", "request", "reload the page")
        line = json.dumps(answer.model_dump()).encode() + b"\n"
        with self._turn:
            _append(_path(self._folder, rater), line)
            self._answers[rater][answer.pair, answer.question] = answer.choice


@contextmanager
def serving_alone(folder: Path) -> Iterator[None]:
    """Hold the study for the length of the block, so that no second server appends to its files.

    Raises:
        UserError: another one does, or the folder cannot be written.
    """
    path = folder / ANSWERS / LOCK
    try:
        path.parent.mkdir(exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        problem = f"answers cannot be written there: {error.strerror}"
        raise UserError(problem, str(path.parent), "check the folder's permissions") from error
    try:
        _lock(descriptor, folder)
        yield
    finally:
        os.close(descriptor)


def _lock(descriptor: int, folder: Path) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        advice = "end the other `comat study serve` first"
        raise UserError("the study is being served already", str(folder), advice) from error


def read_answers(folder: Path, rater: int, pairs: set[str]) -> Answers:
    """One rater's answers, the last to each question.

    Args:
        pairs: names of the study's pairs.

    Raises:
        UserError: a line is no answer to a question of this study.
    """
    path = _path(folder, rater)
    if not path.is_file():
        return {}
    content = read_file(path, "file of answers", limit=LARGEST_FILE, advice=ADVICE)
    found: Answers = {}
    for number, line in enumerate(content.split(b"\n")[:-1], start=1):
        where = f"{path}, line {number}"
        answer = fitted(Answer, parse_json(line, "answer", where, advice=ADVICE), "answer", where, advice=ADVICE)
        if answer.pair not in pairs:
            raise UserError(f"the study has no pair {answer.pair}", where, ADVICE)
        found[answer.pair, answer.question] = answer.choice
    return found


def _path(folder: Path, rater: int) -> Path:
    return folder / ANSWERS / f"rater-{rater:03d}.jsonl"


def _append(path: Path, line: bytes) -> None:
    """Put a line after the last whole one, on the disk; a failure takes back what was written of it."""
    is_new = not path.exists()
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        end = _end_of_whole_lines(descriptor)
        os.ftruncate(descriptor, end)
        try:
            written = os.pwrite(descriptor, line, end)
            if written < len(line):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
            os.fsync(descriptor)
        except OSError:
            os.ftruncate(descriptor, end)
            raise
    finally:
        os.close(descriptor)
    if is_new:
        _sync_folder(path.parent)


def _end_of_whole_lines(descriptor: int) -> int:
    """Where the last whole line ends."""
    size = os.fstat(descriptor).st_size
    content = os.pread(descriptor, size, 0)
    return content.rfind(b"\n") + 1


def _sync_folder(folder: Path) -> None:
    """Let the disk know a new file's name, too."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
