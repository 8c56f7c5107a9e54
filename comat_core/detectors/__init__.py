"""Detectors that find nouns in images as boxes, all behind the protocol `Detector`; some know the objects' pixels too.

groundingdino-py takes seconds to import, so that each detector is imported from its own module.
"""

from comat_core.detectors.protocol import Detector, Instance

__all__ = ["Detector", "Instance"]
