"""Settings of the paper's discriminator: a UNet on latents."""

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from stages.models.discriminators.settings import DiscriminatorNetwork, Surroundings
from stages.plan.config import ModelReference

if TYPE_CHECKING:
    from comat_core.discriminators.unet import UNetDiscriminator


class UNet(DiscriminatorNetwork):
    """A UNet with a LoRA and a head of its own, on latents. Without `model` it shares the online model's weights."""

    kind: Literal["unet"] = "unet"
    model: Annotated[
        ModelReference | None, Field(description="its checkpoint; none shares the online model's UNet")
    ] = None
    rank: Annotated[int, Field(ge=1, le=1024, description="rank of the LoRA")] = 128

    def load(self, surroundings: Surroundings) -> "UNetDiscriminator":
        from comat_core.backbones.text_to_image import TextToImageModel
        from comat_core.discriminators.unet import UNetDiscriminator

        model = surroundings.online
        if self.model is not None:
            model = TextToImageModel.load(
                self.model.resolve(),
                revision=self.model.revision,
                dtype=surroundings.dtype,
                device=surroundings.device,
            )
        return UNetDiscriminator(
            model,
            rank=self.rank,
            resolution=surroundings.resolution,
            timestep=surroundings.last_timestep,
            seed=surroundings.seed,
            checkpoint_unet=surroundings.checkpoint_unet,
        )
