"""Files that a list names, below a folder that stands elsewhere."""

import unicodedata
from pathlib import Path, PurePosixPath
from typing import Final

from comat_core.files.paths import path_exists
from comat_core.support.errors import UserError, shortened

COMPOSITIONS: Final = ("NFC", "NFD")
"""How names with accents are written: in one character each, or, by macOS and what it packed, in two."""


def check_name(name: str, where: str) -> str:
    """Return the name of a file below a folder.

    Args:
        where: the name stands, for the message.

    Raises:
        UserError: it is empty, or leads out of the folder.
    """
    path = PurePosixPath(name)
    if not path.name or path.is_absolute() or ".." in path.parts or "\0" in name:
        raise UserError(f"{shortened(name)!r} names no file below the images' folder", where, "write a relative path")
    return name


def named_file(folder: Path, name: str) -> Path:
    """The file of that name, however its accents are composed; the name as it stands if there is none."""
    if not name.isascii():
        for other in (unicodedata.normalize(composition, name) for composition in COMPOSITIONS):
            if not path_exists(folder / name) and path_exists(folder / other):
                return folder / other
    return folder / name


def version_of(path: Path) -> tuple[int, int] | None:
    """What tells a file from what stood there before; None if there is none, as its reader will say."""
    try:
        status = path.stat()
    except (OSError, ValueError):
        return None
    return status.st_size, status.st_mtime_ns
