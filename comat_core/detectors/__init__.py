"""Detectors that find nouns in images as boxes, all behind the protocol `Detector`; some know the objects' pixels too.

groundingdino-py takes seconds to import, so it is imported only when that detector is asked for.
"""

from collections.abc import Callable
from typing import Any, Final

from comat_core.detectors.protocol import Detector, Instance
from comat_core.support.errors import UserError


def _load_grounding_dino(*arguments: Any, **settings: Any) -> Detector:
    from comat_core.detectors.grounding_dino import GroundingDinoObjects

    return GroundingDinoObjects.load(*arguments, **settings)


def _load_clipseg(*arguments: Any, **settings: Any) -> Detector:
    from comat_core.detectors.clipseg import ClipSegObjects

    return ClipSegObjects.load(*arguments, **settings)


def _load_mask2former(*arguments: Any, **settings: Any) -> Detector:
    from comat_core.detectors.mask2former import Mask2FormerObjects

    return Mask2FormerObjects.load(*arguments, **settings)


DETECTORS: Final[dict[str, Callable[..., Detector]]] = {
    "grounding_dino": _load_grounding_dino,
    "clipseg": _load_clipseg,
    "mask2former": _load_mask2former,
}


def load_detector(kind: str, *arguments: Any, **settings: Any) -> Detector:
    """Load a frozen detector of the given kind, a key of `DETECTORS`, with that kind's own arguments.

    Raises:
        UserError: unknown kind, or no checkpoint of that kind.
    """
    if kind not in DETECTORS:
        raise UserError(f"unknown detector {kind!r}", "detector kind", f"use one of {', '.join(DETECTORS)}")
    return DETECTORS[kind](*arguments, **settings)


__all__ = ["DETECTORS", "Detector", "Instance", "load_detector"]
