"""Writing a small file of the store anew only while it still is what its writer thinks it is."""

import errno
import os
import stat
from collections.abc import Callable
from pathlib import Path

from stages.store.filesystem import Folder

Change = Callable[[bytes], bytes | None]

_NO_PLAIN_FILE = {errno.ENOENT, errno.ELOOP, errno.ENXIO, errno.ENOTDIR, errno.EISDIR}
_NO_WRITING_IN_PLACE = {errno.EPERM, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP}
"""What some mounted object stores answer: they know whole files only."""


def amend(folder: Folder, name: str, change: Change, *, limit: int) -> bool:
    """Write a file anew, made from what it holds now.

    On a local disk the file itself is changed, so that one that somebody puts in its place meanwhile is never touched,
    however long this process stands still in between. Others know whole files only, and the last one to write wins.

    Args:
        change: gives the new content, as long as the old one, or None to leave the file alone.
        limit: bytes; what is longer is left alone.

    Returns:
        whether it was written; not if it is gone, or no plain file.

    Raises:
        UserError, OSError: the store cannot be read or written.
    """
    if folder.local is not None:
        try:
            return _amend_in_place(folder.local / name, change, limit)
        except OSError as error:
            if error.errno not in _NO_WRITING_IN_PLACE:
                raise
    try:
        content = change(folder.read(name, limit))
    except FileNotFoundError:
        return False
    if content is not None:
        folder.write(name, content)
    return content is not None


def _amend_in_place(path: Path, change: Change, limit: int) -> bool:
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        if error.errno in _NO_PLAIN_FILE:
            return False
        raise
    with os.fdopen(descriptor, "r+b") as file:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode) or status.st_size > limit:
            return False
        content = change(file.read())
        if content is not None:
            file.seek(0)
            file.write(content)
        return content is not None
