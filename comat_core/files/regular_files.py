"""Open files that are files: no pipe that never answers, no device without end, no folder, no loop of links."""

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from comat_core.support.errors import UserError

MEBIBYTE = 1 << 20

KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


class NotAFileError(OSError):
    """Something of that name is there, and it is no regular file."""


class TooLargeError(OSError):
    """A file holds more bytes than anything of its kind can have."""


def open_regular_file(path: Path) -> BinaryIO:
    """Open a file to read its bytes; what is none is told at once, never waited for.

    Raises:
        FileNotFoundError: there is nothing of that name.
        NotAFileError: it is a folder, a pipe, a device, a socket.
        OSError: it cannot be opened: a loop of links, no permission.
    """
    try:
        _check_kind(path.stat().st_mode, path)  # before it is opened: opening a device can do things
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
    except ValueError as error:  # a NUL character, half a character
        raise FileNotFoundError(errno.ENOENT, "no file can have such a name", str(path)) from error
    file = os.fdopen(descriptor, "rb")
    try:
        _check_kind(os.fstat(descriptor).st_mode, path)  # it may have been put in the file's place since
    except BaseException:
        file.close()
        raise
    return file


def read_regular_file(path: Path, limit: int | None) -> bytes:
    """Read a whole file.

    Args:
        limit: bytes; None for a file whose size is known to be right.

    Raises:
        TooLargeError: it is longer.
        OSError: as `open_regular_file` says, or it cannot be read.
    """
    with open_regular_file(path) as file:
        size = os.fstat(file.fileno()).st_size
        if limit is None:
            return file.read()
        content = b"" if size > limit else file.read(size + 1)
        if len(content) > size:  # it grows meanwhile, or does not tell its size
            content += file.read(limit + 1 - len(content))
    if max(size, len(content)) > limit:
        what = f"it has more than {limit:,} bytes, which nothing of its kind can have"
        raise TooLargeError(errno.EFBIG, what, str(path))
    return content


@contextmanager
def opened_file(path: Path, kind: str, *, advice: str = "check the file") -> Iterator[BinaryIO]:
    """Open a file for the length of the block, in which failures of reading it are told too.

    Args:
        kind: what it should be, for the message: "captions file".
        advice: what to do if it cannot be read.

    Raises:
        UserError: it is missing, no regular file, or cannot be read.
    """
    with reading_errors_told(kind, str(path), advice), open_regular_file(path) as file:
        yield file


def read_file(path: Path, kind: str, *, limit: int, advice: str = "check the file") -> bytes:
    """Read a whole file of at most `limit` bytes.

    Args:
        kind: what it should be, for the message: "captions file".

    Raises:
        UserError: it is missing, no regular file, too large, or cannot be read.
    """
    with reading_errors_told(kind, str(path), advice):
        return read_regular_file(path, limit)


@contextmanager
def reading_errors_told(kind: str, where: str, advice: str) -> Iterator[None]:
    """Turn what the system says of a file into one line.

    Raises:
        UserError: the block raised an OSError.
    """
    try:
        yield
    except FileNotFoundError as error:
        raise UserError(f"there is no such {kind}", where, advice) from error
    except OSError as error:
        reason = error.strerror or str(error) or type(error).__name__
        raise UserError(f"the {kind} cannot be read: {reason}", where, advice) from error


def _check_kind(mode: int, path: Path) -> None:
    if not stat.S_ISREG(mode):
        kind = KINDS.get(stat.S_IFMT(mode), "something else")
        raise NotAFileError(errno.EINVAL, f"it is {kind}, no regular file", str(path))
