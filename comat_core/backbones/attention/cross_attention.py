"""Cross-attention: the image's positions attend to the prompt's tokens alone."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from diffusers.models.attention_processor import Attention
from torch import Tensor, nn

from comat_core.backbones.attention_maps import AttentionCall, AttentionProbe, QueriesAndKeys, in_heads, outputs_of


class CrossAttentionProbe(AttentionProbe):
    """diffusers' `Attention` with keys from the text ("attn2")."""

    def layers(self, denoiser: nn.Module) -> dict[str, nn.Module]:
        return {
            name: module
            for name, module in denoiser.named_modules()
            if isinstance(module, Attention) and module.is_cross_attention
        }

    @contextmanager
    def listening(self, layer: Any) -> Iterator[Callable[[AttentionCall], QueriesAndKeys]]:
        """What is multiplied are the projections, or their norms where the layer has any."""
        with (
            outputs_of(layer.to_q, layer.to_k) as projected,
            outputs_of(layer.norm_q, layer.norm_k) as normalised,
        ):

            def multiplied(index: int) -> Tensor:
                found = (normalised[index] or projected[index])[0]
                return found if found.dim() == 4 else in_heads(found, layer.heads)

            def heard(call: AttentionCall) -> QueriesAndKeys:
                return QueriesAndKeys(multiplied(0), multiplied(1), bias=_bias(call))

            yield heard


def middle_half(blocks: int) -> tuple[str, ...]:
    """Names of the cross-attention layers of a transformer's middle blocks, a quarter left out at either end.

    Not measured: nothing is published on which layers of these models say best where an object is.
    """
    return tuple(f"transformer_blocks.{block}.attn2" for block in range(blocks // 4, blocks - blocks // 4))


def _bias(call: AttentionCall) -> Tensor | None:
    """The mask of padding that the call was given, (rows, 1, keys), as (rows, 1, 1, keys)."""
    mask = call.arguments.get("attention_mask")
    return None if mask is None else mask.view(len(mask), -1, *mask.shape[-2:])
