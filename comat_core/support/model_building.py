"""Models are built one at a time, by whichever threads.

While diffusers and transformers build a model they change torch itself, for the whole process: new parameters hold no
data, initialisers do nothing, another type is the default. A module that another thread made at that moment would be
left without its weights.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

_TURN: Final = threading.RLock()


@contextmanager
def building_models() -> Iterator[None]:
    """Wait until no other thread builds models, and keep them waiting; around all that makes modules, or decorating it.

    May be nested.
    """
    with _TURN:
        yield
