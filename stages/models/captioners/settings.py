"""What the settings of all captioners have in common."""

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from stages.models.variants import Variant
from stages.plan.config import ModelReference

if TYPE_CHECKING:
    import torch

    from comat_core.captioners import ImageToText, TransformersCaptioner


class CaptionerSettings(Variant, ABC):
    """An image-to-text model that scores a caption by its likelihood."""

    prefix: Annotated[str, Field(description="text before the caption that is given, not scored")] = "a photography of"

    @abstractmethod
    def load(self, checkpoint: ModelReference, *, dtype: "torch.dtype", device: "torch.device | str") -> "ImageToText":
        """Load the frozen captioner.

        Raises:
            UserError: there is no complete checkpoint of this kind.
        """


class TransformersCaptionerSettings(CaptionerSettings):
    """A captioner of the transformers library. A kind names the class that lays out its text."""

    def load(self, checkpoint: ModelReference, *, dtype: "torch.dtype", device: "torch.device | str") -> "ImageToText":
        return self._captioner_class().load(
            checkpoint.resolve(), revision=checkpoint.revision, dtype=dtype, device=device, prefix=self.prefix
        )

    @abstractmethod
    def _captioner_class(self) -> "type[TransformersCaptioner]": ...
