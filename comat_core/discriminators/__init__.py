"""Discriminators: what keeps the online model's output within the reference model's, behind one protocol."""

from comat_core.discriminators.dino import DinoDiscriminator, Dinov2Discriminator
from comat_core.discriminators.protocol import Discriminator, load_trainable_state, trainable_state
from comat_core.discriminators.unet import UNetDiscriminator, UNetMemory, last_timestep, unet_memory

__all__ = [
    "DinoDiscriminator",
    "Dinov2Discriminator",
    "Discriminator",
    "UNetDiscriminator",
    "UNetMemory",
    "last_timestep",
    "load_trainable_state",
    "trainable_state",
    "unet_memory",
]
