"""Paths that users write: whether something is there, told in one line where the system will not say."""

from collections.abc import Callable
from pathlib import Path

from comat_core.support.errors import UserError


def user_path(text: str) -> Path:
    """A path as a user writes it, with "~" for the home folder.

    Raises:
        UserError: there is no home folder of that user.
    """
    try:
        return Path(text).expanduser()
    except RuntimeError as error:
        raise UserError("there is no such home folder", text, "write the whole path") from error


def file_exists(path: Path) -> bool:
    """Whether there is a regular file, links followed.

    Raises:
        UserError: nobody can tell: the name is too long, or a folder around it may not be read.
    """
    return _asked(path.is_file, path)


def folder_exists(path: Path) -> bool:
    """Whether there is a folder, links followed.

    Raises:
        UserError: as `file_exists`.
    """
    return _asked(path.is_dir, path)


def path_exists(path: Path) -> bool:
    """Whether there is anything, links followed.

    Raises:
        UserError: as `file_exists`.
    """
    return _asked(path.exists, path)


def _asked(question: Callable[[], bool], path: Path) -> bool:
    try:
        return question()
    except ValueError:  # a NUL character, half a character: nothing has such a name
        return False
    except OSError as error:
        where = str(path) if len(str(path)) <= 300 else f"{str(path)[:297]}..."
        raise UserError(
            f"the path cannot be used: {error.strerror}", where, "correct it, or its permissions"
        ) from error
