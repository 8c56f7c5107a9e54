"""Failures of this machine's own disk, outside the store, told in one line."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from safetensors import SafetensorError

from comat_core.support.errors import UserError


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


def write_whole(path: Path, content: bytes) -> None:
    """Write a file that nobody ever sees half of, beside no file that was there: its name until then is a new one."""
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=".comat-")
    unfinished = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        unfinished.chmod(0o666 & ~_umask())
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)


def _umask() -> int:
    """The process's mask for new files; it can only be read by setting it."""
    mask = os.umask(0o077)
    os.umask(mask)
    return mask
