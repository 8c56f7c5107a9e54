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
        with outputs_of(layer.to_q, layer.to_k) as (queries, keys):

            def heard(call: AttentionCall) -> QueriesAndKeys:
                return QueriesAndKeys(
                    in_heads(queries[0], layer.heads), in_heads(keys[0], layer.heads), bias=_bias(call)
                )

            yield heard


def _bias(call: AttentionCall) -> Tensor | None:
    """The mask of padding that the call was given, (rows, 1, keys), as (rows, 1, 1, keys)."""
    mask = call.arguments.get("attention_mask")
    return None if mask is None else mask.view(len(mask), -1, *mask.shape[-2:])
