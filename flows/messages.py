"""The stages' messages on standard error, beside the progress bars that are drawn there."""

import logging
import sys

from tqdm import tqdm

logger = logging.getLogger("comat")


class _AboveProgressBars(logging.Handler):
    """Writes messages to standard error without breaking a progress bar that is drawn there."""

    def emit(self, record: logging.LogRecord) -> None:
        tqdm.write(self.format(record), file=sys.stderr)


def show_messages() -> None:
    """Let the stages' messages appear on standard error, between the progress bars."""
    logger.setLevel(logging.INFO)
    logger.propagate = False
    if not logger.handlers:
        handler = _AboveProgressBars()
        handler.setFormatter(logging.Formatter("%(asctime)s  %(message)s", "%H:%M:%S"))
        logger.addHandler(handler)


def messages_are_shown() -> bool:
    """Whether `show_messages` was called here; a server's own handlers are no sign of it."""
    return any(isinstance(handler, _AboveProgressBars) for handler in logger.handlers)
