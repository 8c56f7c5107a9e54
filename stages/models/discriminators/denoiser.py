"""Settings of the paper's discriminator: a denoiser on latents."""

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from stages.models.discriminators.settings import DiscriminatorNetwork, Surroundings
from stages.plan.config import ModelReference

if TYPE_CHECKING:
    from comat_core.discriminators.denoiser import DenoiserDiscriminator


class Denoiser(DiscriminatorNetwork):
    """A denoiser with a LoRA and a head of its own, on latents; without `model` the online model's weights."""

    kind: Literal["denoiser"] = "denoiser"
    model: Annotated[
        ModelReference | None, Field(description="its checkpoint; none shares the online model's denoiser")
    ] = None
    rank: Annotated[int, Field(ge=1, le=1024, description="rank of the LoRA")] = 128

    def load(self, surroundings: Surroundings) -> "DenoiserDiscriminator":
        from comat_core.backbones.loading import load_backbone
        from comat_core.discriminators.denoiser import DenoiserDiscriminator

        model = surroundings.online
        if self.model is not None:
            model = load_backbone(
                self.model.resolve(),
                revision=self.model.revision,
                dtype=surroundings.dtype,
                device=surroundings.device,
            )
        return DenoiserDiscriminator(
            model,
            rank=self.rank,
            resolution=surroundings.resolution,
            timestep=surroundings.last_timestep,
            seed=surroundings.seed,
            checkpoint_denoiser=surroundings.checkpoint_denoiser,
        )
