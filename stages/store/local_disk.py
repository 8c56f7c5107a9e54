"""Failures of this machine's own disk, outside the store, told in one line."""

import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from safetensors import SafetensorError

from comat_core.support.errors import UserError

OUTPUT_ADVICE = "choose another --output"


@contextmanager
def disk_errors_told(what: str, where: Path, advice: str = "check its permissions and free space") -> Iterator[None]:
    """Turn a failure to write inside the block into a mistake that the user can mend.

    Args:
        what: is written, for the message.

    Raises:
        UserError: the disk is full, or may not be written.
    """
    try:
        yield
    except OSError as error:
        raise UserError(f"cannot write the {what}: {error.strerror or error}", str(where), advice) from error
    except SafetensorError as error:  # no OSError, whatever the disk said
        raise UserError(f"cannot write the {what}: {error}", str(where), advice) from error


def check_folder(what: str, folder: Path, advice: str = "check its permissions and free space") -> None:
    """Make a folder and a file in it for a moment, so that a run fails before its work and not after.

    Raises:
        UserError: it cannot be made, or cannot be written.
    """
    with disk_errors_told(what, folder, advice):
        is_new = not folder.exists()
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    if is_new:
        with suppress(OSError):  # somebody may have begun to use it
            folder.rmdir()


def check_output_file(what: str, output: Path) -> None:
    """Make sure that a file can be written there, before the work that it shall hold.

    Raises:
        UserError: it cannot; or a folder of that name is in the way.
    """
    with disk_errors_told(what, output, OUTPUT_ADVICE), suppress(FileNotFoundError):
        if stat.S_ISDIR(output.stat().st_mode):  # which fails for a name that is too long
            raise UserError("the output is a folder", str(output), OUTPUT_ADVICE)
    check_folder(what, output.parent, OUTPUT_ADVICE)
