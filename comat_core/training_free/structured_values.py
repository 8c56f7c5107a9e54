"""Structured Diffusion Guidance: values of the cross-attention that know which words belong together.

Feng et al. 2023, arXiv 2212.05032: besides the whole prompt, each of its noun phrases is encoded alone
and put back at its words' places. Keys, and with them the attention maps M, come from the whole prompt, and the output
is the mean of M V_i over these k + 1 encodings. As M is the same for all and values are linear in the encodings, that
is M times the values of the mean encoding, which costs no further call.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

VALUES_OF_TEXT = ".attn2.to_v"


def structured_embeddings(whole: Tensor, phrases: Tensor, places: Sequence[Sequence[int]]) -> Tensor:
    """Average a prompt's encoding with those in which one noun phrase's tokens are encoded without the rest.

    Args:
        whole: (L, D), the prompt as the text encoder sees it, start token first.
        phrases: (k, L, D), each noun phrase encoded alone.
        places: k times the positions of the phrase's tokens in the whole; alone it begins at position 1.

    Returns:
        (L, D); `whole` itself where there are no phrases.
    """
    encodings = [whole]
    for alone, tokens in zip(phrases, places, strict=True):
        replaced = whole.clone()
        replaced[list(tokens)] = alone[1 : 1 + len(tokens)]
        encodings.append(replaced)
    return torch.stack(encodings).mean(dim=0)


@contextmanager
def structured_values(unet: nn.Module, embeddings: Tensor) -> Iterator[None]:
    """Let the cross-attention of a UNet take its values from other encodings than its keys.

    Args:
        unet: a diffusers UNet2DConditionModel, called by a pipeline with B rows, or with 2 B rows of which the
            unconditional half comes first and stays as it is.
        embeddings: (B, L, D), what the values are made of.
    """
    layers = [layer for name, layer in unet.named_modules() if name.endswith(VALUES_OF_TEXT)]
    assert layers, "the denoiser has no cross-attention"
    handles = [layer.register_forward_pre_hook(partial(_replace_values, embeddings)) for layer in layers]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _replace_values(embeddings: Tensor, _layer: nn.Module, arguments: tuple[Any, ...]) -> tuple[Tensor]:
    (states,) = arguments
    return (torch.cat([states[: len(states) - len(embeddings)], embeddings.to(states)]),)
