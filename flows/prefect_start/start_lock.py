"""One start of Prefect's local server at a time: of two that make the database's tables at once, one fails."""

import fcntl
import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from comat_core.support.errors import UserError

logger = logging.getLogger("comat")

LOCK_FILE = "comat-start.lock"
POLL_SECONDS = 0.1


@contextmanager
def one_start_at_a_time(home: Path, patience: float) -> Iterator[None]:
    """Hold the lock of Prefect's folder while the block runs; wait for it first. A process that ends releases it.

    Every start takes the lock, not only the first: a newer Prefect changes the tables of an older one's database.

    Args:
        patience: seconds to wait.

    Raises:
        UserError: the folder cannot be written, or another start takes too long.
    """
    try:
        home.mkdir(parents=True, exist_ok=True)
        file = (home / LOCK_FILE).open("ab")
    except OSError as error:
        what = f"Prefect cannot keep its records here: {error.strerror}"
        raise UserError(what, str(home), "set PREFECT_HOME to a folder that can be written") from error
    with file:
        _acquire(file, home, time.monotonic() + patience)
        yield


def _acquire(file: IO[bytes], home: Path, deadline: float) -> None:
    told = False
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError as error:
            if time.monotonic() > deadline:
                what = "another run has been starting Prefect's server for too long"
                advice = f"end that run, or set PREFECT_HOME to another folder ({LOCK_FILE} is its lock)"
                raise UserError(what, str(home), advice) from error
            if not told:
                logger.info("another run is starting Prefect's server: waiting for it")
                told = True
            time.sleep(POLL_SECONDS)
        except OSError as error:
            logger.warning("%s knows no locks (%s): begin the first runs one after the other", home, error.strerror)
            return
