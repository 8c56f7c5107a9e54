"""The progress bar of every long loop."""

import sys
from collections.abc import Iterable
from typing import TypeVar

from tqdm import tqdm

Item = TypeVar("Item")


def progress_bar(items: Iterable[Item], description: str, total: int | None = None) -> Iterable[Item]:
    """Iterate over `items` with a bar on standard error: live in a terminal, a line that stays in a log file.

    Args:
        total: how many items there are, for streams that do not know their length.
    """
    live = sys.stderr.isatty()
    return tqdm(
        items, desc=description, total=total, leave=not live, dynamic_ncols=live, mininterval=0.2 if live else 20.0
    )
