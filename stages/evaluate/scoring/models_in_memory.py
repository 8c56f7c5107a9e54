"""Models kept in memory from one shard to the next, so that an evaluation of many shards loads them once."""

import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, Final, TypeVar

Model = TypeVar("Model")

KEPT: Final = 3
"""Models kept at a time: what the hungriest evaluation uses, a parser among them."""

# Of each thread its own, because parsers are not made to be shared between threads.
_of_thread = threading.local()


def loaded(load: Callable[..., Model], *arguments: Any, **settings: Any) -> Model:
    """Return `load(*arguments, **settings)`, or what the same call gave before in this thread.

    The model that was not asked for the longest goes before another one is loaded.

    Args:
        load: a function or class method, which gives equal models for equal, hashable arguments.
    """
    kept: OrderedDict[Any, Any] = _of_thread.__dict__.setdefault("kept", OrderedDict())
    call = (load, arguments, tuple(sorted(settings.items())))
    if call not in kept:
        while len(kept) >= KEPT:
            kept.popitem(last=False)
        kept[call] = load(*arguments, **settings)
    kept.move_to_end(call)
    return kept[call]
