"""From images to a denoiser's latents and back."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from comat_core.support.finite_numbers import check_finite
from comat_core.support.numerics import full_precision
from comat_core.support.randomness import normal_noise


class Autoencoder:
    """diffusers' AutoencoderKL, in the scale that the denoiser was trained in."""

    def __init__(self, network: Any, source: str) -> None:
        """Wrap a loaded autoencoder.

        Args:
            source: of the model, for the reader of an error.
        """
        self.network = network
        self.source = source

    @property
    def scale_factor(self) -> int:
        """Pixels per latent, along a side."""
        return 2 ** (len(self.network.config.block_out_channels) - 1)

    @property
    def latent_channels(self) -> int:
        """Channels of the denoiser's latents."""
        return self.network.config.latent_channels

    def decode(self, latents: Tensor, *, checkpoint_rows: bool = False) -> Tensor:
        """Decode latents to images, differentiably.

        Args:
            latents: (B, C, h, w), in the denoiser's scale.
            checkpoint_rows: decode row by row and again in the backward pass, so that one image's activations are
                held at a time.

        Returns:
            (B, 3, H, W) in [0, 1], up to tails that the autoencoder leaves outside and that are not clamped here.
        """
        unscaled = self._to_own_scale(latents).to(self.network.dtype)
        if checkpoint_rows:
            rows = [checkpoint(self._decode, row, use_reentrant=False) for row in unscaled.split(1)]
            decoded = torch.cat(rows)  # pyright: ignore[reportArgumentType, reportCallIssue]
        else:
            decoded = self._decode(unscaled)
        return decoded.to(latents.dtype) / 2 + 0.5

    @torch.no_grad()
    def encode_images(self, images: Tensor, generators: Sequence[torch.Generator]) -> Tensor:
        """Draw latents of images from the autoencoder's posterior.

        Args:
            images: (B, 3, H, W) in [0, 1].
            generators: one per image.

        Returns:
            (B, C, h, w) in the denoiser's scale and the images' precision.

        Raises:
            UserError: some are no finite numbers.
        """
        with full_precision(self.network.device):
            own = (images * 2 - 1).to(self.network.device, self.network.dtype)
            latents = self._draw(own, generators, images.dtype)
        check_finite(latents, "the autoencoder's latents of an image", self.source)
        return self._to_denoisers_scale(latents)

    def _draw(self, images: Tensor, generators: Sequence[torch.Generator], dtype: torch.dtype) -> Tensor:
        """Latents of images in [-1, 1], in the autoencoder's own scale."""
        posterior = self.network.encode(images).latent_dist
        noise = normal_noise(posterior.mean.shape[1:], generators, dtype=dtype, device=images.device)
        return posterior.mean.to(dtype) + posterior.std.to(dtype) * noise

    def _decode(self, latents: Tensor) -> Tensor:
        # Autocast would send an autoencoder through half precision that was kept in float32 because it overflows.
        with full_precision(self.network.device):
            return self.network.decode(latents, return_dict=False)[0]

    def _to_own_scale(self, latents: Tensor) -> Tensor:
        scale, shift = self._scale_and_shift(latents)
        return latents / scale + shift

    def _to_denoisers_scale(self, latents: Tensor) -> Tensor:
        scale, shift = self._scale_and_shift(latents)
        return (latents - shift) * scale

    def _scale_and_shift(self, like: Tensor) -> tuple[Tensor, Tensor]:
        """Return (1, C or 1, 1, 1) tensors such that denoiser's latents = (autoencoder's latents - shift) * scale."""
        config = self.network.config
        scale = like.new_tensor(config.scaling_factor).view(1, 1, 1, 1)
        if config.latents_mean is not None and config.latents_std is not None:
            statistics = (config.latents_std, config.latents_mean)
            std, mean = (like.new_tensor(list(values)).view(1, -1, 1, 1) for values in statistics)
            return scale / std, mean
        return scale, like.new_tensor(config.shift_factor or 0.0).view(1, 1, 1, 1)
