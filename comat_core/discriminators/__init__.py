"""Discriminators: what keeps the online model's output within the reference model's, behind one protocol."""

from comat_core.discriminators.denoiser import DenoiserDiscriminator, RolesMemory, memory_of_roles
from comat_core.discriminators.dino import DinoDiscriminator, Dinov2Discriminator
from comat_core.discriminators.protocol import Discriminator, load_trainable_state, trainable_state

__all__ = [
    "DenoiserDiscriminator",
    "DinoDiscriminator",
    "Dinov2Discriminator",
    "Discriminator",
    "RolesMemory",
    "load_trainable_state",
    "memory_of_roles",
    "trainable_state",
]
