"""Exceptions that are nobody's: one line on the screen, the whole trace in a file."""

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from comat_core.support.errors import UserError
from flows import failures
from flows.command_line.cli import main
from flows.command_line.commands import presets
from flows.failures import failure_line, thread_failures_told
from tests.flows.conftest import ROOT

LONG = "no memory\n" * 500


@pytest.fixture(autouse=True)
def traces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where traces go in these tests."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv(failures.DEBUG, raising=False)
    return tmp_path / "cache" / "comat" / "failures"


def raising(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    """Let `comat presets` raise."""

    def fail() -> list[str]:
        raise error

    monkeypatch.setattr(presets, "preset_names", fail)


def test_the_screen_gets_one_line_and_the_file_everything(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, traces: Path
) -> None:
    error = RuntimeError(LONG)
    error.__cause__ = KeyError("the cause")
    error.add_note("said by the process")
    raising(monkeypatch, error)
    assert main(["presets"]) == 1
    captured = capsys.readouterr()
    (trace,) = traces.iterdir()
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    assert captured.err.startswith("comat: RuntimeError: no memory no memory")
    assert f"(trace in {trace}): the same command goes on where it stopped" in captured.err
    assert len(captured.err) < 800
    content = trace.read_text()
    assert all(part in content for part in (LONG, "Traceback", "the cause", "said by the process", "Python 3", "torch"))
    assert trace.stat().st_mode & 0o077 == 0, "for its owner alone"


def test_debugging_shows_the_trace(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, traces: Path
) -> None:
    monkeypatch.setenv(failures.DEBUG, "1")
    raising(monkeypatch, RuntimeError("unexpected"))
    assert main(["presets"]) == 1
    assert "Traceback" in (shown := capsys.readouterr().err)
    assert shown.splitlines()[-1].startswith("comat: RuntimeError: unexpected (trace above): ")
    raising(monkeypatch, UserError("a mistake", "here", "mend it"))
    assert main(["presets"]) == 2
    assert "Traceback" in (shown := capsys.readouterr().err)
    assert shown.splitlines()[-1] == "comat: a mistake (here): mend it"
    assert not traces.exists()


def test_passwords_in_urls_stay_secret(traces: Path) -> None:
    line = failure_line(OSError("cannot open s3://me:secret@bucket/x"))
    (trace,) = traces.iterdir()
    assert "secret" not in line + trace.read_text()
    assert "s3://…@bucket/x" in line


def test_a_group_of_one_is_told_as_that_one(traces: Path) -> None:
    group = ExceptionGroup("unhandled errors", [ExceptionGroup("again", [ValueError("the real one")])])
    assert failure_line(group).startswith("ValueError: the real one (trace in ")
    (trace,) = traces.iterdir()
    assert "unhandled errors" in trace.read_text()


def test_a_full_cache_is_no_second_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    assert str(tmp_path / "temporary") in failure_line(ValueError("x"))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "file" / "below"))
    assert "the trace could not be written: Not a directory): set COMAT_DEBUG=1" in failure_line(ValueError("x"))


def test_threads_that_fail_say_it_in_one_line(capsys: pytest.CaptureFixture[str], traces: Path) -> None:
    def fail() -> None:
        raise RuntimeError("the watcher is gone")

    with thread_failures_told():
        thread = threading.Thread(target=fail)
        thread.start()
        thread.join()
    told = capsys.readouterr().err
    assert told.startswith("comat: in the background: RuntimeError: the watcher is gone (trace in ")
    assert told.count("\n") == 1
    assert len(list(traces.iterdir())) == 1


def comat(*arguments: str, **options: object) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "flows.command_line.cli", *arguments],
        cwd=ROOT,
        env={**os.environ, "PYTHONUNBUFFERED": ""},
        stderr=subprocess.PIPE,
        text=True,
        check=False,
        timeout=120,
        **options,  # pyright: ignore[reportCallIssue, reportArgumentType]
    )


def test_a_reader_that_leaves_early_is_no_failure() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    finished = comat("show", "miniature", stdout=writing)
    os.close(writing)
    assert (finished.returncode, finished.stderr) == (141, "")


def test_output_that_cannot_be_written_is_told() -> None:
    with Path("/dev/full").open("w") as full:
        finished = comat("presets", stdout=full)
    assert finished.returncode == 1
    assert "No space left on device (trace in " in finished.stderr
    assert "Traceback" not in finished.stderr
    assert finished.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("library", "code", "told"),
    [
        ("raise ImportError('libarrow.so: cannot open shared object file')", 1, "comat: ImportError: libarrow.so: "),
        ("raise KeyboardInterrupt", 130, ""),
    ],
)
def test_a_program_that_cannot_be_loaded_says_so_in_one_line(
    tmp_path: Path, library: str, code: int, told: str
) -> None:
    (tmp_path / "pyarrow.py").write_text(library)
    finished = subprocess.run(
        [sys.executable, "-c", "import sys; from flows.command_line.entry import main; sys.exit(main())"],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert (finished.returncode, finished.stdout) == (code, "")
    assert finished.stderr.startswith(told)
    assert finished.stderr.count("\n") == (1 if told else 0)
