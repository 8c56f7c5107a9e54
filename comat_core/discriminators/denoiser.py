"""The paper's discriminator: a pretrained denoiser with its own LoRA and a linear head on each output pixel."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from comat_core.backbones.adapters import active_adapter, add_lora, lora_parameters
from comat_core.backbones.protocol import Backbone
from comat_core.discriminators.heads import seeded_linear
from comat_core.discriminators.protocol import gradient_wanted
from comat_core.support.randomness import make_generator

ADAPTER_NAME = "discriminator"


class DenoiserDiscriminator:
    """Score latents by what a denoiser predicts for them, given the empty prompt.

    The denoiser may be the very one that the online model runs on. Its weights are then in memory once: the adapter
    "discriminator" is switched on for the length of a call, and whatever was active before comes back.
    """

    def __init__(
        self,
        model: Backbone,
        *,
        rank: int,
        resolution: int,
        timestep: float,
        seed: int,
        checkpoint_denoiser: bool = False,
    ) -> None:
        """Add the adapter and the head to a loaded model.

        Args:
            model: the online model itself to share its denoiser, or another one to stand apart.
            rank: of the LoRA.
            resolution: side of the images in pixels, which some denoisers are told.
            timestep: of the training schedule, 0 the cleanest; the paper's is `Scheduler.last_timestep`.
            seed: of the run; LoRA and head start from it.
            checkpoint_denoiser: recompute the denoiser in the backward pass instead of keeping its activations.

        Raises:
            UserError: the denoiser has a discriminator already, or LoRA does not fit it.
        """
        self.model = model
        self.timestep = timestep
        self.checkpoint_denoiser = checkpoint_denoiser
        self.empty_prompt = model.encode_prompts([""], resolution)
        adapter = {id(parameter) for parameter in add_lora(model, ADAPTER_NAME, rank=rank, seed=seed)}
        generator = make_generator(seed, "discriminator head")
        self.head = seeded_linear(model.latent_channels, 1, generator).to(model.device)
        self._trainable = {
            f"denoiser.{name}": parameter
            for name, parameter in model.denoiser.named_parameters()
            if id(parameter) in adapter
        } | {f"head.{name}": parameter for name, parameter in self.head.named_parameters()}

    @property
    def networks(self) -> dict[str, nn.Module]:
        """Those of its model, which may be the online model's."""
        return self.model.networks

    @property
    def reads(self) -> Literal["latents", "images"]:
        """Latents (B, C, h, w), finished ones, in the denoiser's scale."""
        return "latents"

    def score(self, samples: Tensor, *, frozen: bool = False) -> Tensor:
        """Return logits (B, h, w), one per latent pixel."""
        if self.checkpoint_denoiser and torch.is_grad_enabled():
            return checkpoint(self._score, samples, frozen, use_reentrant=False)  # pyright: ignore[reportReturnType]
        return self._score(samples, frozen)

    def score_keeping(self, samples: Tensor) -> Tensor:
        """Score without recomputing the denoiser in the backward pass."""
        return self._score(samples, frozen=False)

    def named_trainable_parameters(self) -> dict[str, nn.Parameter]:
        """LoRA and head, in float32."""
        return dict(self._trainable)

    def _score(self, latents: Tensor, frozen: bool) -> Tensor:
        # The backward pass may call this again, when other adapters and gradients are on: both are set in here.
        with active_adapter(self.model.denoiser, ADAPTER_NAME), gradient_wanted(self._trainable, not frozen):
            timesteps = torch.full((len(latents),), self.timestep, device=latents.device)
            prediction = self.model.predict(latents, timesteps, self.empty_prompt.repeat(len(latents)))
            return self.head(prediction.permute(0, 2, 3, 1).to(self.head.weight.dtype)).squeeze(-1)


@dataclass(frozen=True)
class RolesMemory:
    """Bytes of parameters that the three roles take: frozen reference, online model, discriminator."""

    resident: int
    """As loaded: each parameter counted once, adapters and head included."""
    separate: int
    """If each role had a network of its own."""

    @property
    def saved(self) -> int:
        """Bytes that sharing saves."""
        return self.separate - self.resident


def memory_of_roles(online: Backbone, discriminator: DenoiserDiscriminator) -> RolesMemory:
    """Count the parameter bytes of the three roles, shared as they are and apart as they might be."""
    its_own = discriminator.model.denoiser
    every = {
        id(parameter): parameter
        for module in (online.denoiser, its_own, discriminator.head)
        for parameter in module.parameters()
    }
    adapters = {name for denoiser in (online.denoiser, its_own) for name in getattr(denoiser, "peft_config", {})}
    added = {
        id(p): p
        for denoiser in (online.denoiser, its_own)
        for name in adapters
        for p in lora_parameters(denoiser, name)
    }
    added |= {id(parameter): parameter for parameter in discriminator.head.parameters()}
    resident, additions = _bytes(every.values()), _bytes(added.values())
    bare_online = _bytes(p for p in online.denoiser.parameters() if id(p) not in added)
    bare_own = _bytes(p for p in its_own.parameters() if id(p) not in added)
    return RolesMemory(resident, separate=2 * bare_online + bare_own + additions)


def _bytes(parameters: Iterable[Tensor]) -> int:
    return sum(parameter.numel() * parameter.element_size() for parameter in parameters)
