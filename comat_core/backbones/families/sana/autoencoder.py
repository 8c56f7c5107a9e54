"""SANA's autoencoder: one latent per image, and no distribution of them."""

from collections.abc import Sequence

import torch
from torch import Tensor

from comat_core.backbones.autoencoder import Autoencoder


class DeepCompressionAutoencoder(Autoencoder):
    """diffusers' AutoencoderDC. Encoding an image draws nothing: its generators are not touched."""

    @property
    def scale_factor(self) -> int:
        return self.network.spatial_compression_ratio

    def _draw(self, images: Tensor, generators: Sequence[torch.Generator], dtype: torch.dtype) -> Tensor:
        del generators
        return self.network.encode(images, return_dict=False)[0].to(dtype)

    def _scale_and_shift(self, like: Tensor) -> tuple[Tensor, Tensor]:
        scale = like.new_tensor(self.network.config.scaling_factor).view(1, 1, 1, 1)
        return scale, torch.zeros_like(scale)
