"""Joint attention of the FLUX models: text and image in one softmax, the text first, queries and keys rotated.

Double blocks project text and image by weights of their own; single blocks get both in one sequence.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

import torch
from diffusers.models.embeddings import apply_rotary_emb
from torch import Tensor, nn

from comat_core.backbones.attention_maps import AttentionCall, AttentionProbe, QueriesAndKeys, outputs_of

PUBLISHED_DOUBLE_BLOCKS: Final = 19
FIRST_LOCALISING: Final = 10


class RotatedAttentionProbe(AttentionProbe):
    """Reads what is multiplied: projections, normalised per head, then rotated by each token's position.

    A map is the part of the softmax that goes to the text, as the model uses it: what a pixel gives to other pixels is
    missing in its sum, and so is nothing renormalised.
    """

    def __init__(self, *kinds: type[nn.Module], latents_per_position: int) -> None:
        """Make a probe of diffusers' attention classes of one model.

        Args:
            latents_per_position: how many latents of a channel the model packs into one position.
        """
        self.kinds = kinds
        self.latents_per_position = latents_per_position

    def layers(self, denoiser: nn.Module) -> dict[str, nn.Module]:
        return {name: module for name, module in denoiser.named_modules() if isinstance(module, self.kinds)}

    @contextmanager
    def listening(self, layer: Any) -> Iterator[Callable[[AttentionCall], QueriesAndKeys]]:
        with outputs_of(layer.norm_q, layer.norm_k, getattr(layer, "norm_added_k", None)) as normalised:

            def heard(call: AttentionCall) -> QueriesAndKeys:
                (queries,), (keys,), keys_of_text = normalised
                keys = torch.cat([*keys_of_text, keys], dim=1)
                height, width = call.latent_shape
                pixels = height * width // self.latents_per_position
                tokens = keys.shape[1] - pixels
                rotations = call.arguments["image_rotary_emb"]
                return QueriesAndKeys(
                    _rotated(queries[:, -pixels:], tuple(part[tokens:] for part in rotations)),
                    _rotated(keys, rotations),
                    text=slice(0, tokens),
                )

            yield heard


def _rotated(normalised: Tensor, rotations: tuple[Tensor, ...]) -> Tensor:
    """Turn (rows, n, heads, d) by cosines and sines (n, d), as the processors do, and put heads first."""
    return apply_rotary_emb(normalised, rotations, sequence_dim=1).transpose(1, 2)  # pyright: ignore


def localising_blocks(double_blocks: int) -> tuple[str, ...]:
    """Names of the attention layers whose maps say best where an object is.

    These are FLUX.1's double blocks 10 to 18 of 19 (ConceptAttention, 2025), and those at the same depth of
    transformers of other sizes. Blocks count from 0.

    Args:
        double_blocks: how many the transformer has.
    """
    first = FIRST_LOCALISING * double_blocks // PUBLISHED_DOUBLE_BLOCKS
    return tuple(f"transformer_blocks.{block}.attn" for block in range(first, double_blocks))
