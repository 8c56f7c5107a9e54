"""One file from its publisher: bounded in size and time, resumed after an interruption, verified before it counts."""

import fcntl
import http.client
import logging
import os
import re
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from comat_core.support.errors import UserError
from data.downloading.checksums import difference
from data.downloading.timed_reading import Patience, TimedReader

logger = logging.getLogger("comat")

LARGEST_UNKNOWN = 128 << 20  # bytes of a file whose size nobody has noted
PATIENCE = Patience()
POLL_SECONDS = 0.2
RANGE_NOT_SATISFIABLE = 416
CONTENT_RANGE = re.compile(r"bytes (\d+)-\d+/(?:\d+|\*)")


@dataclass(frozen=True)
class Expected:
    """What is known of a file before it is there."""

    checksum: str | None = None
    size: int | None = None  # bytes

    @property
    def largest(self) -> int:
        """Bytes after which it cannot be the file any more."""
        return LARGEST_UNKNOWN if self.size is None else self.size


class WrongFileError(Exception):
    """What the publisher sends is not the file that is expected."""


def download(url: str, target: Path, expected: Expected, remedy: str) -> None:
    """Download a file to its place. What an earlier attempt has left is gone on with; a whole file alone is put there.

    Raises:
        UserError: it cannot be had, comes too slowly, or is not the file that is expected.
    """
    with _partial_file(target) as partial:
        if partial is None:
            return
        try:
            _complete(url, partial, expected)
        except WrongFileError as error:
            Path(partial.name).unlink()
            what = f"the file is not the one that the registry knows: {error}"
            raise UserError(what, url, "the publisher changed it; report this") from error
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise _failure(url, partial, expected, error, remedy) from error
        Path(partial.name).replace(target)


def _complete(url: str, partial: IO[bytes], expected: Expected) -> None:
    """Fetch what the partial file lacks, and verify the whole.

    Raises:
        WrongFileError: it differs, also when fetched from its beginning.
        OSError, http.client.HTTPException, ValueError: it cannot be had.
    """
    had = partial.seek(0, os.SEEK_END)
    if had > expected.largest or expected.checksum is None:  # nobody could tell whether the parts belong together
        had = 0
    try:
        if had < expected.largest:
            _fetch_from(url, had, partial, expected)
        _verify(partial, expected)
    except WrongFileError:
        if not had:
            raise
        _fetch_from(url, 0, partial, expected)
        _verify(partial, expected)


def _fetch_from(url: str, start: int, partial: IO[bytes], expected: Expected) -> None:
    """Write the file from byte `start` on, or all of it where the server sends nothing else."""

    def open_answer() -> Any:
        headers = {"Range": f"bytes={start}-"} if start else {}
        return urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=PATIENCE.silence)

    with TimedReader(open_answer, PATIENCE) as reader:
        try:
            begin, end = _extent(reader.source(), start)
        except urllib.error.HTTPError as error:
            if start and error.code == RANGE_NOT_SATISFIABLE:
                raise WrongFileError(f"it ends before byte {start:,}") from error
            raise
        if end is not None and (end > expected.largest or (expected.size is not None and end < expected.size)):
            raise WrongFileError(f"{end:,} bytes instead of {expected.largest:,}")
        partial.seek(begin)
        partial.truncate()
        for block in reader.blocks():
            if partial.tell() + len(block) > expected.largest:
                raise WrongFileError(f"more than {expected.largest:,} bytes")
            _write_all(partial, block)
    whole = end if expected.size is None else expected.size
    if whole is not None and partial.tell() < whole:
        raise ConnectionError(f"the answer ended after {partial.tell():,} of {whole:,} bytes")


def _write_all(file: IO[bytes], block: bytes) -> None:
    """Write to an unbuffered file, which may take less than it is given."""
    left = memoryview(block)
    while left:
        left = left[file.write(left) :]


def _extent(answer: Any, wanted: int) -> tuple[int, int | None]:
    """Where the answer's bytes begin in the file, and where they end, if it says so."""
    begin = 0
    if getattr(answer, "status", None) == http.client.PARTIAL_CONTENT:
        found = CONTENT_RANGE.match(answer.headers.get("Content-Range", ""))
        if found is None or int(found[1]) > wanted:
            raise ConnectionError("the server sent another part of the file than the one asked for")
        begin = int(found[1])
    length = answer.headers.get("Content-Length", "")
    return begin, begin + int(length) if re.fullmatch(r"[0-9]{1,18}", length) else None


def _verify(partial: IO[bytes], expected: Expected) -> None:
    found = difference(Path(partial.name), expected.checksum)
    if found is not None:
        raise WrongFileError(found)


def _failure(url: str, partial: IO[bytes], expected: Expected, error: Exception, remedy: str) -> UserError:
    """The error in one line; what has arrived stays, if the next attempt can go on with it."""
    there = partial.seek(0, os.SEEK_END)
    if not there or expected.checksum is None:
        Path(partial.name).unlink()
        return UserError(f"the download failed: {error or type(error).__name__}", url, remedy)
    advice = f"the same command goes on after the {there:,} bytes that are there; or {remedy}"
    return UserError(f"the download failed: {error or type(error).__name__}", url, advice)


@contextmanager
def _partial_file(target: Path) -> Iterator[IO[bytes] | None]:
    """The unfinished file beside the target, for this process alone; None if another one has finished it meanwhile."""
    path = target.with_name(f"{target.name}.partial")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        file = _open_locked(path)
    except OSError as error:
        what = f"the folder for downloads cannot be written: {error.strerror}"
        raise UserError(what, str(target.parent), "check its permissions and free space") from error
    with file:
        if target.exists():
            path.unlink(missing_ok=True)
            yield None
        else:
            yield file


def _open_locked(path: Path) -> IO[bytes]:
    """Open a file under its lock, once nobody else holds it, and still of that name then.

    Unbuffered: what a full disk refuses is refused once, not again when the file is closed.
    """
    told = False
    while True:
        file = open(path, "r+b", buffering=0, opener=_create)  # noqa: SIM115  (the caller closes it)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if not told:
                logger.info("another process is downloading %s: waiting for it", path.name)
                told = True
            file.close()
            time.sleep(POLL_SECONDS)
            continue
        except OSError:
            return file  # a file system without locks; what two processes mix up fails its checksum
        if path.exists() and os.path.samestat(path.stat(), os.fstat(file.fileno())):
            return file
        file.close()


def _create(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_CREAT, 0o666)
