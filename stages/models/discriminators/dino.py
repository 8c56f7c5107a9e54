"""Settings of the discriminators on images: DINO's transformers, the first and the second generation."""

from abc import abstractmethod
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from stages.models.discriminators.settings import DiscriminatorNetwork, Surroundings
from stages.plan.config import ModelReference

if TYPE_CHECKING:
    from comat_core.discriminators.dino import DinoDiscriminator


class _ImageTransformer(DiscriminatorNetwork):
    """A frozen transformer on images, with heads on its patch tokens that learn."""

    model: Annotated[ModelReference, Field(description="its checkpoint, folder or hub id")]

    def load(self, surroundings: Surroundings) -> "DinoDiscriminator":
        return self._discriminator_class().load(
            self.model.resolve(),
            seed=surroundings.seed,
            revision=self.model.revision,
            dtype=surroundings.dtype,
            device=surroundings.device,
        )

    @abstractmethod
    def _discriminator_class(self) -> "type[DinoDiscriminator]": ...


class Dino(_ImageTransformer):
    """DINO, a ViT."""

    kind: Literal["dino"] = "dino"

    def _discriminator_class(self) -> "type[DinoDiscriminator]":
        from comat_core.discriminators.dino import DinoDiscriminator

        return DinoDiscriminator


class Dinov2(_ImageTransformer):
    """DINOv2."""

    kind: Literal["dinov2"] = "dinov2"

    def _discriminator_class(self) -> "type[DinoDiscriminator]":
        from comat_core.discriminators.dino import Dinov2Discriminator

        return Dinov2Discriminator
