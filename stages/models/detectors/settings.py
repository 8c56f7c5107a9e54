"""What the settings of all detectors have in common."""

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from stages.models.variants import Variant
from stages.plan.config import ModelReference

if TYPE_CHECKING:
    from comat_core.detectors import Detector


class DetectorSettings(Variant, ABC):
    """A detector of the objects that it is asked for."""

    threshold: Annotated[float, Field(gt=0, lt=1, description="least confidence of an object")] = 0.3

    @abstractmethod
    def load(self, checkpoint: ModelReference, device: str) -> "Detector":
        """Load the frozen detector.

        Args:
            device: torch device; auto takes a GPU.

        Raises:
            UserError: there is no such checkpoint, or it is one of another kind.
        """
