"""Segmenters that find nouns in images, all behind the protocol `Segmenter`.

Grounded-SAM's packages take seconds to import, so they are imported only when that segmenter is asked for.
"""

from collections.abc import Callable
from typing import Any, Final

from comat_core.segmenters.clipseg import ClipSegSegmenter
from comat_core.segmenters.protocol import Segmenter
from comat_core.support.errors import UserError


def load_grounded_sam(*arguments: Any, **settings: Any) -> Segmenter:
    """Load Grounded-SAM; see `comat_core.segmenters.grounded_sam.GroundedSamSegmenter.load`."""
    from comat_core.segmenters.grounded_sam import GroundedSamSegmenter

    return GroundedSamSegmenter.load(*arguments, **settings)


SEGMENTERS: Final[dict[str, Callable[..., Segmenter]]] = {
    "clipseg": ClipSegSegmenter.load,
    "grounded_sam": load_grounded_sam,
}


def load_segmenter(kind: str, *arguments: Any, **settings: Any) -> Segmenter:
    """Load a frozen segmenter of the given kind, a key of `SEGMENTERS`, with that kind's own arguments.

    Raises:
        UserError: unknown kind, or no checkpoint of that kind.
    """
    if kind not in SEGMENTERS:
        raise UserError(f"unknown segmenter {kind!r}", "segmenter kind", f"use one of {', '.join(SEGMENTERS)}")
    return SEGMENTERS[kind](*arguments, **settings)


__all__ = ["SEGMENTERS", "Segmenter", "load_segmenter"]
