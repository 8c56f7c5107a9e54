"""The networks that a preset may name for the discriminator."""

from typing import Annotated

from pydantic import Field

from stages.models.discriminators.denoiser import Denoiser
from stages.models.discriminators.dino import Dino, Dinov2
from stages.models.discriminators.settings import DiscriminatorNetwork, Surroundings

AnyDiscriminator = Annotated[Denoiser | Dinov2 | Dino, Field(discriminator="kind")]

__all__ = ["AnyDiscriminator", "Denoiser", "Dino", "Dinov2", "DiscriminatorNetwork", "Surroundings"]
