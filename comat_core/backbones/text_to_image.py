"""One object for every text-to-image checkpoint: load, encode, predict, decode.

What differs between Stable Diffusion 1.x, 2.x and SDXL is a row of the table at the bottom of this file; the rest of
the project never asks which one it holds.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from comat_core.backbones.pipeline_index import check_backbone, check_schedule, left_out_of
from comat_core.backbones.pipeline_loading import ADVICE, fetch_pipeline, index_of, load_network, load_pipeline
from comat_core.backbones.prompt_conditioning import (
    PromptConditioning,
    PromptEncoder,
    encode_stable_diffusion,
    encode_stable_diffusion_xl,
)
from comat_core.support.errors import UserError
from comat_core.support.finite_numbers import check_finite
from comat_core.support.loading_errors import loading_errors_told
from comat_core.support.numerics import full_precision
from comat_core.support.randomness import normal_noise

__all__ = ["PromptConditioning", "TextToImageModel"]


@dataclass(frozen=True)
class Backbone:
    """What one kind of stock pipeline does its own way."""

    encode_prompts: PromptEncoder
    original_block_names: bool = False
    """Whether other tools' LoRA files name the UNet's blocks as the original release did, not as diffusers does."""


TEXT_ENCODERS: Final = ("text_encoder", "text_encoder_2")
"""Names of a pipeline's parts; a kind of pipeline has one or both."""


class TextToImageModel:
    """A frozen diffusers pipeline and the few calls that the method makes on it.

    Nothing in it asks for a gradient: trainable weights are adapters, added to `unet` by
    `comat_core.backbones.adapters`.
    """

    def __init__(self, pipeline: Any, source: str = "the base model") -> None:
        """Wrap a loaded pipeline of a supported kind; `load` is the usual way here.

        Args:
            source: folder or hub id, for the reader of an error.
        """
        self.pipeline = pipeline
        self.source = source
        self.backbone = BACKBONES[type(pipeline).__name__]
        self.unet = pipeline.unet.requires_grad_(False).eval()
        self.vae = pipeline.vae.requires_grad_(False).eval()
        self.scheduler = pipeline.scheduler
        self.tokenizer = pipeline.tokenizer
        self.vae_scale_factor: int = 2 ** (len(self.vae.config.block_out_channels) - 1)
        self.latent_channels: int = self.vae.config.latent_channels
        for name in TEXT_ENCODERS:
            if getattr(pipeline, name, None) is not None:
                getattr(pipeline, name).requires_grad_(False).eval()

    @classmethod
    def load(
        cls,
        source: str | Path,
        *,
        revision: str | None = None,
        vae: str | Path | None = None,
        vae_revision: str | None = None,
        unet: str | Path | None = None,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
    ) -> "TextToImageModel":
        """Load a checkpoint, safetensors only.

        Args:
            source: a diffusers pipeline folder or a hub id.
            revision: the hub id's branch, tag or commit.
            vae: a folder or hub id whose autoencoder replaces the checkpoint's own (SDXL's half-precision-safe one).
            vae_revision: the same for that autoencoder.
            unet: a folder with a UNet that replaces the checkpoint's own.
            dtype: of the weights. An autoencoder that asks for `force_upcast` stays in float32 beside a float16 UNet.
            device: where the weights live.

        Raises:
            UserError: the checkpoint cannot be read or is of a kind that is not supported; a network of it is of
                another class, or lacks weights.
        """
        source = str(source)
        index = index_of(source, revision)
        given: dict[str, Any] = {}
        if vae is not None:
            given["vae"] = load_network(AutoencoderKL, str(vae), "the autoencoder", dtype, vae_revision)
        if unet is not None:
            given["unet"] = load_network(UNet2DConditionModel, str(unet), "the UNet", dtype)
        check_backbone(index, source, given)
        given |= left_out_of(index)
        with loading_errors_told("cannot load the model", source, ADVICE):
            folder = fetch_pipeline(source, revision, given)
        check_schedule(folder)
        pipeline = load_pipeline(folder, given, dtype)
        _check_architecture(source, pipeline)
        if dtype == torch.float16 and pipeline.vae.config.force_upcast:
            pipeline.vae.to(torch.float32)
        pipeline.to(device)
        assert pipeline.unet.dtype == dtype, "the loader has ignored the requested precision"
        return cls(pipeline, source)

    @property
    def networks(self) -> dict[str, nn.Module]:
        """The networks that it is made of, by name."""
        encoders = {name.replace("_", " "): getattr(self.pipeline, name, None) for name in TEXT_ENCODERS}
        found = {"UNet": self.unet, "autoencoder": self.vae, **encoders}
        return {name: network for name, network in found.items() if network is not None}

    @property
    def device(self) -> torch.device:
        """Where the UNet lives."""
        return self.unet.device

    @property
    def dtype(self) -> torch.dtype:
        """Precision of the UNet's own weights (adapters stay in float32)."""
        return self.unet.conv_in.weight.dtype

    def use_channels_last(self) -> None:
        """Lay the weights of UNet and autoencoder out as convolutions read them fastest."""
        for model in (self.unet, self.vae):
            model.to(memory_format=torch.channels_last)

    def latent_size(self, resolution: int) -> int:
        """Return the side of the latents of a square image.

        Args:
            resolution: side of the image, in pixels.

        Raises:
            UserError: the side is not a multiple of what the autoencoder and the UNet divide it by.
        """
        unit = self.vae_scale_factor * 2 ** (len(self.unet.config.block_out_channels) - 1)
        if resolution < unit or resolution % unit:
            raise UserError(
                f"resolution {resolution} does not fit this model", "resolution", f"choose a multiple of {unit}"
            )
        return resolution // self.vae_scale_factor

    @torch.no_grad()
    def encode_prompts(self, prompts: Sequence[str], resolution: int) -> PromptConditioning:
        """Encode B prompts for square images of `resolution` pixels, as the stock pipeline does."""
        return self.backbone.encode_prompts(self.pipeline, prompts, resolution)[0]

    @torch.no_grad()
    def encode_unconditional(self, count: int, resolution: int) -> PromptConditioning:
        """Return `count` rows of what the stock pipeline guides away from when no negative prompt is given.

        Not always the empty prompt: SDXL's is all zeros.
        """
        return self.backbone.encode_prompts(self.pipeline, [""], resolution)[1].repeat(count)

    def predict(self, latents: Tensor, timesteps: Tensor, conditioning: PromptConditioning) -> Tensor:
        """Call the UNet once, without guidance.

        Args:
            latents: (B, C, h, w), already scaled for the timestep.
            timesteps: (B,) or a scalar, of the training schedule.
            conditioning: B rows.

        Returns:
            (B, C, h, w) in the latents' precision: noise, velocity or clean latents, as the checkpoint was trained.
        """
        conditioning = conditioning.to(dtype=self.dtype)
        output = self.unet(
            latents.to(self.dtype),
            timesteps,
            encoder_hidden_states=conditioning.prompt_embeds,
            added_cond_kwargs=conditioning.added_conditions(),
            return_dict=False,
        )[0]
        return output.to(latents.dtype)

    def decode(self, latents: Tensor, *, checkpoint_rows: bool = False) -> Tensor:
        """Decode latents to images, differentiably.

        Args:
            latents: (B, C, h, w), in the UNet's scale.
            checkpoint_rows: decode row by row and again in the backward pass, so that one image's activations are
                held at a time.

        Returns:
            (B, 3, H, W) in [0, 1], up to tails that the autoencoder leaves outside and that are not clamped here.
        """
        scale, shift = self._latent_scale_and_shift(latents)
        unscaled = (latents / scale + shift).to(self.vae.dtype)
        if checkpoint_rows:
            rows = [checkpoint(self._decode_unscaled, row, use_reentrant=False) for row in unscaled.split(1)]
            decoded = torch.cat(rows)  # pyright: ignore[reportArgumentType, reportCallIssue]
        else:
            decoded = self._decode_unscaled(unscaled)
        return decoded.to(latents.dtype) / 2 + 0.5

    @torch.no_grad()
    def encode_images(self, images: Tensor, generators: Sequence[torch.Generator]) -> Tensor:
        """Draw latents of images from the autoencoder's posterior.

        Args:
            images: (B, 3, H, W) in [0, 1].
            generators: one per image.

        Returns:
            (B, C, h, w) in the UNet's scale and the images' precision.

        Raises:
            UserError: some are no finite numbers.
        """
        with full_precision(self.device):
            posterior = self.vae.encode((images * 2 - 1).to(self.device, self.vae.dtype)).latent_dist
        noise = normal_noise(posterior.mean.shape[1:], generators, dtype=images.dtype, device=self.device)
        latents = posterior.mean.to(images.dtype) + posterior.std.to(images.dtype) * noise
        check_finite(latents, "the autoencoder's latents of an image", self.source)
        scale, shift = self._latent_scale_and_shift(latents)
        return (latents - shift) * scale

    def _decode_unscaled(self, latents: Tensor) -> Tensor:
        # Autocast would send an autoencoder through half precision that was kept in float32 because it overflows.
        with full_precision(self.device):
            return self.vae.decode(latents, return_dict=False)[0]

    def _latent_scale_and_shift(self, like: Tensor) -> tuple[Tensor, Tensor]:
        """Return (1, C or 1, 1, 1) tensors such that UNet latents = (autoencoder latents - shift) * scale."""
        config = self.vae.config
        scale = like.new_tensor(config.scaling_factor).view(1, 1, 1, 1)
        if config.latents_mean is not None and config.latents_std is not None:
            statistics = (config.latents_std, config.latents_mean)
            std, mean = (like.new_tensor(list(values)).view(1, -1, 1, 1) for values in statistics)
            return scale / std, mean
        return scale, like.new_tensor(config.shift_factor or 0.0).view(1, 1, 1, 1)


def _check_architecture(source: str, pipeline: Any) -> None:
    if pipeline.unet.config.in_channels != pipeline.vae.config.latent_channels:
        raise UserError("the UNet takes more than latents", source, "use a plain text-to-image checkpoint")
    if pipeline.unet.config.time_cond_proj_dim is not None:
        raise UserError("the UNet has its guidance distilled in", source, "use the checkpoint it was distilled from")


BACKBONES: dict[str, Backbone] = {
    "StableDiffusionPipeline": Backbone(encode_stable_diffusion),
    "StableDiffusionXLPipeline": Backbone(encode_stable_diffusion_xl, original_block_names=True),
}
