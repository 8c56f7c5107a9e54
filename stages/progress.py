"""The progress bar of every long loop."""

import sys
from collections.abc import Iterable
from typing import Any, TypeVar

from tqdm import tqdm

Item = TypeVar("Item")


def counting_bar(total: int, description: str | None) -> "tqdm[Any]":
    """A bar as `progress_bar` draws it, for loops that go forward by several items at a time: `update(count)`.

    Args:
        description: None draws nothing.
    """
    return _bar((), description, total)


def progress_bar(items: Iterable[Item], description: str, total: int | None = None) -> Iterable[Item]:
    """Iterate over `items` with a bar on standard error: live in a terminal, a line that stays in a log file.

    Args:
        total: how many items there are, for streams that do not know their length.
    """
    return _bar(items, description, total)


def _bar(items: Iterable[Item], description: str | None, total: int | None) -> "tqdm[Item]":
    live = sys.stderr.isatty()
    return tqdm(
        items,
        desc=description,
        total=total,
        leave=not live,
        dynamic_ncols=live,
        mininterval=0.2 if live else 20.0,
        disable=description is None,
    )
