"""Items cut into batches under a progress bar: of a size that is set, or of one that fits the memory."""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, TypeVar

from pydantic import PlainValidator

from stages.batches.device_memory import usable_memory
from stages.batches.prefetching import prefetched
from stages.plan.config import NOT_IN_KEY
from stages.progress import counting_bar

if TYPE_CHECKING:
    import torch

Item = TypeVar("Item")
Prepared = TypeVar("Prepared")

AUTO: Final = "auto"
LARGEST: Final = 4096
LARGEST_CHOSEN: Final = 256
"""More at once makes no model faster, and a kill loses more."""

logger = logging.getLogger("comat")


def _checked(value: Any) -> Any:
    if value == AUTO or (isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= LARGEST):
        return value
    raise ValueError(f"write {AUTO} or a number from 1 to {LARGEST}")


BatchSize = Annotated[int | Literal["auto"], NOT_IN_KEY, PlainValidator(_checked)]
"""The setting: so many items at once, or as many as fit by what the first one takes."""


def in_parts(items: Sequence[Item], size: int) -> list[Sequence[Item]]:
    """Cut a sequence into parts of the given size, the last one shorter if need be."""
    return [items[start : start + size] for start in range(0, len(items), size)]


def batches(items: Sequence[Item], size: BatchSize, title: str | None = None) -> Iterator[Sequence[Item]]:
    """Yield the items a batch at a time; with "auto" the first batch is one item, by which the others are sized.

    What the caller computes with a batch, before it asks for the next one, is what is measured.

    Args:
        title: of the progress bar; None draws none, inside a loop that has one.
    """
    with counting_bar(len(items), title) as bar:
        for stretch in _stretches(items, size, title):
            for batch in stretch:
                yield batch
                bar.update(len(batch))


def prepared_batches(
    items: Sequence[Item], size: BatchSize, title: str, prepare: Callable[[Sequence[Item]], Prepared]
) -> Iterator[tuple[Sequence[Item], Prepared]]:
    """As `batches`, with prepare(batch) beside each, which a thread makes one batch ahead."""
    with counting_bar(len(items), title) as bar:
        for stretch in _stretches(items, size, title):
            for batch, prepared in prefetched(stretch, prepare):
                yield batch, prepared
                bar.update(len(batch))


def _stretches(items: Sequence[Item], size: BatchSize, title: str | None) -> Iterator[Sequence[Sequence[Item]]]:
    """Batches whose sizes are known together: all, or the first one and then the others."""
    if size == AUTO and len(items) > 1:
        from comat_core.support.memory.live_bytes import LiveBytes

        with LiveBytes() as measured:
            yield in_parts(items[:1], 1)
        items, size = items[1:], fitting_size(measured.peak)
        logger.info("%s: %d at once, by what the first one took", title or "in batches", size)
    yield in_parts(items, 1 if size == AUTO else size)


def fitting_size(taken: "Mapping[torch.device, int]") -> int:
    """How many items fit at once: a power of two, so that a few bytes more or less change no result's last digit.

    Args:
        taken: device -> bytes that one item takes at the fullest moment.
    """
    fits = min((usable_memory(device) // size for device, size in taken.items() if size), default=LARGEST_CHOSEN)
    return 2 ** (max(1, min(fits, LARGEST_CHOSEN)).bit_length() - 1)
