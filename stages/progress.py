"""The progress bar of every long loop."""

import sys
from collections.abc import Iterable, Sequence
from typing import TypeVar

from tqdm import tqdm

Item = TypeVar("Item")


def progress_bar(items: Sequence[Item], description: str) -> Iterable[Item]:
    """Iterate over `items` with a bar on standard error: live in a terminal, a line now and then in a log file."""
    live = sys.stderr.isatty()
    return tqdm(items, desc=description, leave=False, dynamic_ncols=live, mininterval=0.2 if live else 20.0)
