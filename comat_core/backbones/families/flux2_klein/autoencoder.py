"""FLUX.2's autoencoder: its latents are packed 2x2 before they are normalised, channel by channel."""

from torch import Tensor
from torch.nn import functional

from comat_core.backbones.autoencoder import Autoencoder
from comat_core.backbones.packing import SIDE_OF_SQUARES


class Flux2Autoencoder(Autoencoder):
    """diffusers' AutoencoderKLFlux2. Mean and variance are those that its batch norm gathered in training."""

    @property
    def scale_factor(self) -> int:
        return super().scale_factor * SIDE_OF_SQUARES

    @property
    def latent_channels(self) -> int:
        return super().latent_channels * SIDE_OF_SQUARES**2

    def _to_own_scale(self, latents: Tensor) -> Tensor:
        mean, std = self._statistics(latents)
        return functional.pixel_shuffle(latents * std + mean, SIDE_OF_SQUARES)

    def _to_denoisers_scale(self, latents: Tensor) -> Tensor:
        mean, std = self._statistics(latents)
        return (functional.pixel_unshuffle(latents, SIDE_OF_SQUARES) - mean) / std

    def _statistics(self, like: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation of each of the denoiser's channels, (1, C, 1, 1)."""
        norm = self.network.bn
        variance = norm.running_var.to(like) + self.network.config.batch_norm_eps
        return norm.running_mean.to(like).view(1, -1, 1, 1), variance.sqrt().view(1, -1, 1, 1)
