"""The paper's discriminator: a pretrained UNet with its own LoRA and a linear head on each output pixel."""

from copy import deepcopy
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from comat_core.backbones.adapters import active_adapter, add_lora, lora_parameters
from comat_core.backbones.text_to_image import TextToImageModel
from comat_core.discriminators.heads import seeded_linear
from comat_core.discriminators.protocol import gradient_wanted
from comat_core.support.randomness import make_generator

ADAPTER_NAME = "discriminator"


class UNetDiscriminator:
    """Score latents by what a UNet predicts for them, given the empty prompt.

    The UNet may be the very one that the online model runs on. Its weights are then in memory once: the adapter
    "discriminator" is switched on for the length of a call, and whatever was active before comes back.
    """

    def __init__(
        self,
        model: TextToImageModel,
        *,
        rank: int,
        resolution: int,
        timestep: int,
        seed: int,
        checkpoint_unet: bool = False,
    ) -> None:
        """Add the adapter and the head to a loaded model.

        Args:
            model: the online model itself to share its UNet, or another one to stand apart.
            rank: of the LoRA.
            resolution: side of the images in pixels, which some UNets are told.
            timestep: of the training schedule, 0 the cleanest; the paper's is `last_timestep`.
            seed: of the run; LoRA and head start from it.
            checkpoint_unet: recompute the UNet in the backward pass instead of keeping its activations.

        Raises:
            UserError: the UNet has a discriminator already, or LoRA does not fit it.
        """
        self.model = model
        self.timestep = timestep
        self.checkpoint_unet = checkpoint_unet
        self.empty_prompt = model.encode_prompts([""], resolution)
        adapter = {id(parameter) for parameter in add_lora(model.unet, ADAPTER_NAME, rank=rank, seed=seed)}
        generator = make_generator(seed, "discriminator head")
        self.head = seeded_linear(model.unet.config.out_channels, 1, generator).to(model.device)
        self._trainable = {
            f"unet.{name}": parameter for name, parameter in model.unet.named_parameters() if id(parameter) in adapter
        } | {f"head.{name}": parameter for name, parameter in self.head.named_parameters()}

    @property
    def networks(self) -> dict[str, nn.Module]:
        """Those of its model, which may be the online model's."""
        return self.model.networks

    @property
    def reads(self) -> Literal["latents", "images"]:
        """Latents (B, C, h, w), finished ones, in the UNet's scale."""
        return "latents"

    def score(self, samples: Tensor, *, frozen: bool = False) -> Tensor:
        """Return logits (B, h, w), one per latent pixel."""
        if self.checkpoint_unet and torch.is_grad_enabled():
            return checkpoint(self._score, samples, frozen, use_reentrant=False)  # pyright: ignore[reportReturnType]
        return self._score(samples, frozen)

    def score_keeping(self, samples: Tensor) -> Tensor:
        """Score without recomputing the UNet in the backward pass."""
        return self._score(samples, frozen=False)

    def named_trainable_parameters(self) -> dict[str, nn.Parameter]:
        """LoRA and head, in float32."""
        return dict(self._trainable)

    def _score(self, latents: Tensor, frozen: bool) -> Tensor:
        # The backward pass may call this again, when other adapters and gradients are on: both are set in here.
        with active_adapter(self.model.unet, ADAPTER_NAME), gradient_wanted(self._trainable, not frozen):
            timesteps = torch.full((len(latents),), self.timestep, device=latents.device)
            prediction = self.model.predict(latents, timesteps, self.empty_prompt.repeat(len(latents)))
            return self.head(prediction.permute(0, 2, 3, 1).to(self.head.weight.dtype)).squeeze(-1)


def last_timestep(scheduler: Any, num_inference_steps: int) -> int:
    """The timestep of the sampler's last UNet call, the cleanest it makes: 1 for SD 1.5 with 50 DDPM steps.

    What the discriminator reads are finished latents with no noise in them, so the UNet is asked as if it stood at
    the end of the sampler's way, where it has been trained on inputs most like these.
    """
    own = deepcopy(scheduler)
    own.set_timesteps(num_inference_steps)
    return int(own.timesteps[-1])


@dataclass(frozen=True)
class UNetMemory:
    """Bytes of parameters that the three roles take: frozen reference, online model, discriminator."""

    resident: int
    """As loaded: each parameter counted once, adapters and head included."""
    separate: int
    """If each role had a UNet of its own."""

    @property
    def saved(self) -> int:
        """Bytes that sharing saves."""
        return self.separate - self.resident


def unet_memory(online: TextToImageModel, discriminator: UNetDiscriminator) -> UNetMemory:
    """Count the parameter bytes of the three roles, shared as they are and apart as they might be."""
    its_own = discriminator.model.unet
    every = {
        id(parameter): parameter
        for module in (online.unet, its_own, discriminator.head)
        for parameter in module.parameters()
    }
    adapters = {name for unet in (online.unet, its_own) for name in getattr(unet, "peft_config", {})}
    added = {id(p): p for unet in (online.unet, its_own) for name in adapters for p in lora_parameters(unet, name)}
    added |= {id(parameter): parameter for parameter in discriminator.head.parameters()}
    resident, additions = _bytes(every.values()), _bytes(added.values())
    bare_online = _bytes(p for p in online.unet.parameters() if id(p) not in added)
    bare_own = _bytes(p for p in its_own.parameters() if id(p) not in added)
    return UNetMemory(resident, separate=2 * bare_online + bare_own + additions)


def _bytes(parameters: Any) -> int:
    return sum(parameter.numel() * parameter.element_size() for parameter in parameters)
