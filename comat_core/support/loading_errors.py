"""What model libraries raise over a checkpoint that they cannot read, told in one line."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from comat_core.support.errors import UserError, first_line

NO_SUCH_FILE: Final = "does not appear to have a file"
"""What the libraries say of a hub repository that has no weights of a kind, and of none that cannot be reached."""


@contextmanager
def loading_errors_told(problem: str, source: str, advice: str) -> Iterator[None]:
    """Around a library's call that loads something: turn whatever it raises into one line.

    The libraries take a checkpoint's files for well-formed: what they raise over others is whatever that leads to, a
    missing key, a division by zero, and with the tokenizers a bare Exception. So this catches all of it.

    Args:
        problem: that there is then, such as "cannot load the model".
        source: the folder or hub id.
        advice: what to do about it.

    Raises:
        UserError: the call failed.
    """
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        raise UserError(f"{problem}: {first_line(error)}", source, advice) from error
