"""What every text-prompted detector offers: boxes around the nouns of an image, and how sure it is of each."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from comat_core.metrics.spatial import Detection


@dataclass(frozen=True)
class Instance(Detection):
    """A detected object of which it is known which of the image's pixels, (H, W) bool, are its own."""

    mask: NDArray[np.bool_] = field(compare=False, repr=False)


class Detector(Protocol):
    """A frozen open-vocabulary detector."""

    def detect_objects(self, images: Tensor, nouns: Sequence[Sequence[str]]) -> list[list[Detection]]:
        """Find nouns[i] in images[i].

        Args:
            images: (B, 3, H, W) in [0, 1].
            nouns: per image any number of nouns or short noun phrases, none included.

        Returns:
            Per image its boxes, surest first, each labelled with its noun; corners in pixels of the image.
        """
        ...
