"""The networks that a preset may name for the discriminator."""

from typing import Annotated

from pydantic import Field

from stages.models.discriminators.dino import Dino, Dinov2
from stages.models.discriminators.settings import DiscriminatorNetwork, Surroundings
from stages.models.discriminators.unet import UNet

AnyDiscriminator = Annotated[UNet | Dinov2 | Dino, Field(discriminator="kind")]

__all__ = ["AnyDiscriminator", "Dino", "Dinov2", "DiscriminatorNetwork", "Surroundings", "UNet"]
