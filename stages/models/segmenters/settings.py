"""What the settings of all segmenters have in common."""

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

from stages.models.variants import Variant
from stages.plan.config import ModelReference

if TYPE_CHECKING:
    import torch

    from comat_core.segmenters import Segmenter


class SegmenterSettings(Variant, ABC):
    """A text-prompted segmenter, which says where in an image each noun is."""

    @abstractmethod
    def load(self, checkpoint: ModelReference, *, device: "torch.device | str") -> "Segmenter":
        """Load the frozen segmenter, in float32.

        Raises:
            UserError: a checkpoint is missing, or is one of another kind.
        """
