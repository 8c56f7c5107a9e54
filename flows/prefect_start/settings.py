"""Prefect's own settings, read when it is imported: what is wrong with them is the user's to mend."""

import io
import sys
import warnings
from contextlib import redirect_stderr

from pydantic import ValidationError

from comat_core.support.errors import UserError, first_problem

FOLDER_WARNING = "Failed to create the Prefect home directory"  # a start of our own server tells it better


def read_prefect_settings() -> None:
    """Import Prefect's settings for the first time.

    Raises:
        UserError: a variable, a profile or a file of settings is malformed.
    """
    said = io.StringIO()
    try:
        with redirect_stderr(said), warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=FOLDER_WARNING)
            from prefect.settings import get_current_settings

            get_current_settings()
    except ValueError as error:
        where = "a variable PREFECT_…, Prefect's profile, or prefect.toml"
        raise UserError(f"Prefect refuses its settings: {_reason(error)}", where, "correct it there") from error
    sys.stderr.write(said.getvalue())


def _reason(error: ValueError) -> str:
    return first_problem(error, "their whole") if isinstance(error, ValidationError) else str(error)
