"""The files of a folder, those behind links to other folders included."""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from comat_core.support.errors import UserError

MOST_FOLDERS: Final = 100_000
"""More than any model or data set has; folders that link to each other reach it soon."""

_Place = tuple[int, int]
"""Device and number of a folder: the same whichever links lead there."""


def files_below(folder: Path) -> Iterator[Path]:
    """Every regular file in a folder and in the folders inside, in no certain order; hidden ones are left out.

    A linked folder counts as if it stood there itself, so that a folder and its copy without links have the same
    files. A link to a folder that it stands in, however far above, is not followed: that would have no end.

    Raises:
        UserError: a folder cannot be read, or links lead through folders without end.
    """
    above = frozenset(_place_of(outer) for outer in folder.resolve().parents)
    pending: list[tuple[Path, frozenset[_Place]]] = [(folder, above)]
    visited = 0
    while pending:
        current, outer = pending.pop()
        visited += 1
        if visited > MOST_FOLDERS:
            problem = f"there are more than {MOST_FOLDERS:,} folders inside"
            raise UserError(problem, str(folder), "remove the links between its folders")
        within = outer | {_place_of(current)}
        files, folders = _read(current)
        yield from files
        pending += [(inner, within) for inner in folders if _place_of(inner) not in within]


def _read(folder: Path) -> tuple[list[Path], list[Path]]:
    """The regular files and the folders that stand in a folder, links seen as what they lead to."""
    try:
        entries = [entry for entry in folder.iterdir() if not entry.name.startswith(".")]
        return [entry for entry in entries if entry.is_file()], [entry for entry in entries if entry.is_dir()]
    except OSError as error:
        problem = f"a folder cannot be read: {error.strerror or error}"
        raise UserError(problem, str(folder), "check its permissions") from error


def _place_of(folder: Path) -> _Place:
    status = folder.stat()
    return status.st_dev, status.st_ino
