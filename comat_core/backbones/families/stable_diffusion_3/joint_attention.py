"""SD3's joint attention: image and text in one softmax, the image's positions first."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from diffusers.models.attention_processor import Attention
from torch import Tensor, nn

from comat_core.backbones.attention_maps import AttentionCall, AttentionProbe, QueriesAndKeys, in_heads, outputs_of


class JointAttentionProbe(AttentionProbe):
    """diffusers' `Attention` with projections of the text beside the image's.

    A map is the part of the softmax that goes to the text, as the model uses it: what a pixel gives to other pixels is
    missing in its sum, and so is nothing renormalised.
    """

    def layers(self, denoiser: nn.Module) -> dict[str, nn.Module]:
        # SD3.5's attn2 has no projections of the text: it is the image's attention to itself.
        return {
            name: module
            for name, module in denoiser.named_modules()
            if isinstance(module, Attention) and getattr(module, "add_k_proj", None) is not None
        }

    @contextmanager
    def listening(self, layer: Any) -> Iterator[Callable[[AttentionCall], QueriesAndKeys]]:
        """What is multiplied are the projections, or their norms where the layer has any."""
        with (
            outputs_of(layer.to_q, layer.to_k, layer.add_k_proj) as projected,
            outputs_of(layer.norm_q, layer.norm_k, layer.norm_added_k) as normalised,
        ):

            def multiplied(index: int) -> Tensor:
                if normalised[index]:
                    return normalised[index][0]
                return in_heads(projected[index][0], layer.heads)

            def heard(call: AttentionCall) -> QueriesAndKeys:
                del call
                queries, of_image, of_text = (multiplied(index) for index in range(3))
                pixels = of_image.shape[2]
                return QueriesAndKeys(queries, torch.cat([of_image, of_text], dim=2), text=slice(pixels, None))

            yield heard
