"""Reading entities in several processes.

Each worker parses and reads: what comes back are the entities. A parsed prompt is fifty times as large, and taking it
apart and putting it together again costs as much as parsing it.
"""

from collections import deque
from collections.abc import Generator, Iterable
from concurrent.futures import Future, ProcessPoolExecutor
from itertools import islice
from multiprocessing import get_context
from typing import Any, Final

from comat_core.language.entities import Entity, parse_entities
from comat_core.language.noun_filter import NounFilter
from comat_core.language.parsers import load_parser
from comat_core.support.parent_process import end_with_parent

JOBS_PER_PROCESS: Final = 3
"""In flight: enough to keep a worker busy, few enough that memory stays flat however many prompts there are."""

_of_worker: dict[str, Any] = {}


def parse_entities_in_processes(
    prompts: Iterable[str],
    parser: str,
    noun_filter: NounFilter,
    *,
    keep_same_nouns: bool = False,
    batch_size: int,
    process_count: int,
) -> Generator[list[Entity], None, None]:
    """Do what `parse_entities` does in `process_count` worker processes; the results come in the prompts' order.

    The workers are started afresh, so a script that calls this at its top level needs an `if __name__ == "__main__"`.

    Args:
        parser: name of an installed spaCy pipeline, which every worker loads for itself.
    """
    waiting: deque[Future[list[list[Entity]]]] = deque()
    remaining = iter(prompts)
    with ProcessPoolExecutor(
        process_count,
        get_context("spawn"),
        initializer=_prepare,
        initargs=(parser, noun_filter, keep_same_nouns, batch_size),
    ) as pool:
        try:
            while job := list(islice(remaining, batch_size)):
                waiting.append(pool.submit(_parse, job))
                if len(waiting) >= JOBS_PER_PROCESS * process_count:
                    yield from waiting.popleft().result()
            while waiting:
                yield from waiting.popleft().result()
        finally:
            pool.shutdown(cancel_futures=True)


def _prepare(parser: str, noun_filter: NounFilter, keep_same_nouns: bool, batch_size: int) -> None:
    end_with_parent()
    _of_worker.update(
        nlp=load_parser(parser), noun_filter=noun_filter, keep_same_nouns=keep_same_nouns, batch_size=batch_size
    )


def _parse(prompts: list[str]) -> list[list[Entity]]:
    return list(parse_entities(prompts, **_of_worker))
