"""What the settings of all discriminators have in common."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING

from stages.models.variants import Variant

if TYPE_CHECKING:
    import torch

    from comat_core.backbones.protocol import Backbone
    from comat_core.discriminators import Discriminator


@dataclass(frozen=True)
class Surroundings:
    """What a discriminator may need to know of the training that it is made for."""

    online: "Backbone"
    """Whose output it judges; it may share its network."""
    last_timestep: float
    """Of the training schedule: where the sampler's last call stands."""
    resolution: int
    """Side of the images, pixels."""
    seed: int
    """What it learns starts from it."""
    checkpoint_denoiser: bool
    """Denoisers are recomputed in the backward pass."""
    dtype: "torch.dtype"
    """Of frozen weights."""
    device: "torch.device"


class DiscriminatorNetwork(Variant, ABC):
    """A frozen network with a small part that learns to tell the reference model's output from the online model's."""

    @abstractmethod
    def load(self, surroundings: Surroundings) -> "Discriminator":
        """Load the network and add what learns.

        Raises:
            UserError: there is no complete checkpoint of this kind.
        """
