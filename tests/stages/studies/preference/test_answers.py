"""Answers on disk: there once they are acknowledged, whatever happens next."""

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from comat_core.support.errors import UserError
from stages.studies.preference import answers
from stages.studies.preference.answers import Answer, AnswerBook, read_answers, serving_alone
from stages.studies.preference.folder import ANSWERS, Pair, Study
from stages.studies.preference.raters import raters_up_to, read_raters

STUDY = Study(resolution=64, pairs=[Pair(pair=f"{number:04d}", prompt="a") for number in range(1, 41)])
NAMES = {pair.pair for pair in STUDY.pairs}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / ANSWERS).mkdir()
    return tmp_path


def answer(pair: str = "0001", choice: str = "left", question: str = "alignment") -> Answer:
    return Answer.model_validate({"pair": pair, "question": question, "choice": choice})


def file_of(folder: Path, rater: int = 1) -> Path:
    return folder / ANSWERS / f"rater-{rater:03d}.jsonl"


def test_the_last_of_several_answers_counts_once(folder: Path) -> None:
    book = AnswerBook(folder, STUDY, [1])
    for choice in ("left", "right", "right", "tie"):
        book.add(1, answer(choice=choice))
    book.add(1, answer(question="quality"))
    expected = {("0001", "alignment"): "tie", ("0001", "quality"): "left"}
    assert book.of(1) == read_answers(folder, 1, NAMES) == expected
    assert file_of(folder).read_bytes().count(b"\n") == 5


def test_raters_have_files_of_their_own(folder: Path) -> None:
    book = AnswerBook(folder, STUDY, [1, 2])
    book.add(1, answer())
    assert book.of(2) == read_answers(folder, 2, NAMES) == {}


def test_an_answer_is_on_the_disk_before_it_is_acknowledged(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[bytes] = []
    real = os.fsync

    def watched(descriptor: int) -> None:
        path = Path(f"/proc/self/fd/{descriptor}").resolve()
        synced.append(path.read_bytes() if path.is_file() else b"folder")
        real(descriptor)

    monkeypatch.setattr(answers.os, "fsync", watched)
    AnswerBook(folder, STUDY, [1]).add(1, answer())
    assert synced == [file_of(folder).read_bytes(), b"folder"]
    assert synced[0].endswith(b"\n")


@pytest.mark.parametrize(
    "cut", [b'{"pair": "0002", "ques', b'{"pair": "0002", "question": "quality", "choice": "tie"}']
)
def test_a_line_that_was_cut_short_is_dropped_and_written_over(folder: Path, cut: bytes) -> None:
    AnswerBook(folder, STUDY, [1]).add(1, answer())
    with file_of(folder).open("ab") as file:
        file.write(cut)
    book = AnswerBook(folder, STUDY, [1])
    assert book.of(1) == {("0001", "alignment"): "left"}
    book.add(1, answer("0003", "tie"))
    assert read_answers(folder, 1, NAMES) == {("0001", "alignment"): "left", ("0003", "alignment"): "tie"}


@pytest.mark.parametrize("taken", [0, 7])
def test_what_a_full_disk_does_not_take_has_not_been_given(
    folder: Path, monkeypatch: pytest.MonkeyPatch, taken: int
) -> None:
    book = AnswerBook(folder, STUDY, [1])
    book.add(1, answer())
    before = file_of(folder).read_bytes()
    real = os.pwrite
    with monkeypatch.context() as patch:
        patch.setattr(answers.os, "pwrite", lambda descriptor, line, at: real(descriptor, line[:taken], at))
        with pytest.raises(OSError, match="No space left"):
            book.add(1, answer("0002"))
    assert file_of(folder).read_bytes() == before
    assert book.of(1) == {("0001", "alignment"): "left"}
    book.add(1, answer("0002"))
    assert len(read_answers(folder, 1, NAMES)) == 2


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (b"{", "malformed JSON"),
        (b"[]", "answer"),
        (b'{"pair": "0001", "question": "alignment", "choice": "both"}', "choice is not allowed"),
        (b'{"pair": "0099", "question": "alignment", "choice": "tie"}', "the study has no pair 0099"),
        (b"\xff", "UTF-8"),
    ],
)
def test_lines_that_are_no_answers_are_told_with_their_place(folder: Path, line: bytes, message: str) -> None:
    AnswerBook(folder, STUDY, [1]).add(1, answer())
    with file_of(folder).open("ab") as file:
        file.write(line + b"\n")
    with pytest.raises(UserError, match=message) as told:
        read_answers(folder, 1, NAMES)
    assert f"{file_of(folder)}, line 2" in str(told.value)


def test_many_threads_lose_nothing(folder: Path) -> None:
    book = AnswerBook(folder, STUDY, [1, 2])

    def rate(rater: int, pairs: list[str]) -> None:
        for pair in pairs:
            book.add(rater, answer(pair))

    names = sorted(NAMES)
    threads = [threading.Thread(target=rate, args=(rater, names[part::4])) for rater in (1, 2) for part in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for rater in (1, 2):
        assert read_answers(folder, rater, NAMES) == book.of(rater)
        assert len(book.of(rater)) == len(NAMES)


def test_a_kill_loses_nothing_that_was_acknowledged(folder: Path) -> None:
    program = f"""
from tests.stages.studies.preference.test_answers import STUDY, AnswerBook, Path, answer
book = AnswerBook(Path({str(folder)!r}), STUDY, [1])
while True:
    for pair in STUDY.pairs:
        book.add(1, answer(pair.pair))
        print(pair.pair, flush=True)
"""
    child = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    told = [child.stdout.readline().strip() for _ in range(25)]
    child.send_signal(signal.SIGKILL)
    told += child.stdout.read().split("\n")[:-1]
    child.wait()
    assert {(pair, "alignment") for pair in told} <= set(AnswerBook(folder, STUDY, [1]).of(1))


def test_a_study_is_served_once_at_a_time(folder: Path) -> None:
    with serving_alone(folder), pytest.raises(UserError, match="is being served already"), serving_alone(folder):
        pass
    with serving_alone(folder):
        pass


def test_raters_keep_their_links_when_there_are_more_of_them(tmp_path: Path) -> None:
    assert read_raters(tmp_path) == {}
    first = raters_up_to(tmp_path, 2)
    more = raters_up_to(tmp_path, 4)
    assert sorted(more.values()) == [1, 2, 3, 4]
    assert first.items() <= more.items()
    assert raters_up_to(tmp_path, 1) == read_raters(tmp_path) == more
    assert min(map(len, more)) >= 22
