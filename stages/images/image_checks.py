"""Reading all images of a set once, before hours of work rest on them."""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final, TypeVar

from comat_core.support.errors import UserError
from stages.progress import progress_bar

Item = TypeVar("Item")

THREADS: Final = 8
NAMED: Final = 5
"""Of the further images that cannot be read, so many are named."""


def check_all(read: Callable[[Item], object], items: Sequence[Item], title: str) -> None:
    """Read every item and forget it.

    Args:
        read: raises a `UserError` that names the image.
        title: of the progress bar.

    Raises:
        UserError: the first image that cannot be read, with the names of others.
    """

    def refusal(item: Item) -> UserError | None:
        try:
            read(item)
        except UserError as error:
            return error
        return None

    # Decoding releases the interpreter's lock, so threads are enough.
    threads = ThreadPoolExecutor(min(THREADS, len(os.sched_getaffinity(0))))
    try:
        answers = progress_bar(threads.map(refusal, items), title, total=len(items))
        refusals = [error for error in answers if error is not None]
    finally:
        threads.shutdown(cancel_futures=True)
    if refusals:
        raise _summed_up(refusals)


def _summed_up(refusals: Sequence[UserError]) -> UserError:
    first, *others = refusals
    if not others:
        return first
    named = "; ".join(error.where for error in others[:NAMED]) + ("; …" if len(others) > NAMED else "")
    return UserError(f"{first.what}; {len(others)} more cannot be used: {named}", first.where, first.what_to_do)
