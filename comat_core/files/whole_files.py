"""Files and folders that appear only when they are whole; what lies beside them is never touched.

Until then they have a name of their own that nobody else has: one derived from the final name might be somebody's file.
"""

import os
import secrets
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PREFIX = ".comat-"
"""Of names until then; what a kill leaves behind is told by it."""


def write_whole(path: Path, content: bytes) -> None:
    """Write a file, or the old one stays as it is.

    Raises:
        OSError: the disk is full, or may not be written.
    """
    with whole_file(path) as unfinished:
        unfinished.write_bytes(content)


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Give a path to write, beside the final one; the file takes its place when the block ends without an error."""
    unfinished = path.with_name(f"{PREFIX}{secrets.token_hex(8)}")
    try:
        yield unfinished
        with unfinished.open("rb") as file:
            os.fsync(file.fileno())
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)


@contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """Give an empty folder to fill, beside the final one; it gets that name when the block ends without an error.

    Raises:
        OSError: a folder of that name holds something by then.
    """
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=PREFIX) as temporary:
        unfinished = Path(temporary) / "new"  # with the usual permissions, other than the folder around it
        unfinished.mkdir()
        yield unfinished
        unfinished.replace(path)
