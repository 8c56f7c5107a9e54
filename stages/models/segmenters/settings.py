"""What the settings of all segmenters have in common."""

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from comat_core.segmenters.instance_settings import InstanceSettings
from stages.models.variants import Variant
from stages.plan.config import NOT_IN_KEY_IF_EMPTY, ModelReference

if TYPE_CHECKING:
    import torch

    from comat_core.segmenters.protocol import InstanceSegmenter


class SegmenterSettings(Variant, ABC):
    """A text-prompted segmenter, which says where in an image each noun is."""

    instances: Annotated[
        InstanceSettings | None,
        NOT_IN_KEY_IF_EMPTY,
        Field(description="how objects of one noun are told apart if entities.same_nouns keeps them; none: as usual"),
    ] = None

    @property
    def telling_apart(self) -> InstanceSettings:
        """The settings of instances that hold."""
        return self.instances or InstanceSettings()

    @abstractmethod
    def load(self, checkpoint: ModelReference, *, device: "torch.device | str") -> "InstanceSegmenter":
        """Load the frozen segmenter, in float32.

        Raises:
            UserError: a checkpoint is missing, or is one of another kind.
        """
