"""Failures of this machine's own disk, outside the store, told in one line."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from safetensors import SafetensorError

from comat_core.errors import UserError


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
