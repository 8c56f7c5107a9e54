"""Exceptions that are nobody's: the whole trace goes to a file, and the screen gets one line that says where it is.

A user's mistake is a `UserError` and needs no trace. Everything else that reaches the top of a command ends here. With
COMAT_DEBUG=1 the trace is shown at once.
"""

import os
import platform
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from comat_core.support.credentials import without_credentials

DEBUG = "COMAT_DEBUG"
LONGEST_MESSAGE = 300  # characters of an exception that fit into the line
PACKAGES = ("comat-pipeline", "torch", "diffusers", "transformers", "prefect")


def is_debugging() -> bool:
    """Whether the user asked for whole traces."""
    return os.environ.get(DEBUG, "") not in ("", "0")


def show_trace(error: BaseException) -> None:
    """Print an exception's trace on standard error."""
    traceback.print_exception(error, file=sys.stderr)


def failure_line(error: BaseException) -> str:
    """Record an exception's trace, unless it is shown anyway, and say in one line what happened and what to do."""
    what = without_credentials(_summary(_innermost(error)))
    advice = "the same command goes on where it stopped; if it ends here again, report it with the trace"
    if is_debugging():
        show_trace(error)
        return f"{what} (trace above): {advice}"
    try:
        return f"{what} (trace in {record_trace(error)}): {advice}"
    except OSError as disk:
        return f"{what} (the trace could not be written: {disk.strerror}): set {DEBUG}=1 to see it here"


def record_trace(error: BaseException) -> Path:
    """Write an exception's trace, with what a report of it needs, and return the file.

    Raises:
        OSError: neither the cache nor the folder for temporary files can be written.
    """
    return record("".join(traceback.format_exception(error)))


def record(account: str) -> Path:
    """Write an account of a failure, as `record_trace` does."""
    text = without_credentials("".join([*_circumstances(), account]))
    for folder in (trace_folder(), Path(tempfile.gettempdir())):
        try:
            folder.mkdir(parents=True, exist_ok=True)
            return _write_new(folder, text)
        except OSError as disk:
            problem = disk
    raise problem


def trace_folder() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "comat" / "failures"


@contextmanager
def thread_failures_told() -> Iterator[None]:
    """Tell the failures of threads inside the block in one line each, rather than with their traces."""
    before = threading.excepthook

    def tell(failure: threading.ExceptHookArgs) -> None:
        if failure.exc_value is not None and not issubclass(failure.exc_type, SystemExit):
            print(f"comat: in the background: {failure_line(failure.exc_value)}", file=sys.stderr)

    threading.excepthook = tell
    try:
        yield
    finally:
        threading.excepthook = before


def _write_new(folder: Path, text: str) -> Path:
    """Write a file of a name of its own, for its owner's eyes: prompts and paths may stand in it."""
    handle, name = tempfile.mkstemp(prefix=time.strftime("%Y%m%d-%H%M%S-"), suffix=".txt", dir=folder)
    with os.fdopen(handle, "w", encoding="utf-8", errors="backslashreplace") as file:
        file.write(text)
    return Path(name)


def _circumstances() -> Iterator[str]:
    yield f"{time.strftime('%Y-%m-%d %H:%M:%S %z')}, {platform.platform()}, Python {platform.python_version()}\n"
    yield f"{' '.join(sys.argv)}\n"
    for package in PACKAGES:
        try:
            yield f"{package} {version(package)}\n"
        except PackageNotFoundError:
            yield f"{package} is not installed\n"


def _innermost(error: BaseException) -> BaseException:
    """The one exception that a group is made of: what wraps it says nothing."""
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error


def _summary(error: BaseException) -> str:
    """The exception's name and message, in one short line."""
    text = " ".join(f"{type(error).__name__}: {error}".split()).removesuffix(":")
    return text if len(text) <= LONGEST_MESSAGE else f"{text[:LONGEST_MESSAGE]}…"
