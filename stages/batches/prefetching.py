"""Preparing the next batch while the model works on this one: decoding PNG files takes as long as a GPU's answer."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

Batch = TypeVar("Batch")
Prepared = TypeVar("Prepared")


def prefetched(batches: Sequence[Batch], prepare: Callable[[Batch], Prepared]) -> Iterator[tuple[Batch, Prepared]]:
    """Yield (batch, prepare(batch)) in order; one thread prepares one batch ahead. What it raises is raised here."""
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="prefetch") as pool:
        waiting = pool.submit(prepare, batches[0]) if batches else None
        for index, batch in enumerate(batches):
            assert waiting is not None
            prepared = waiting.result()
            if index + 1 < len(batches):
                waiting = pool.submit(prepare, batches[index + 1])
            yield batch, prepared
