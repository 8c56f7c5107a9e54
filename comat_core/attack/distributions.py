"""Distributions over words, relaxed for the search and drawn from at its end."""

from collections.abc import Sequence

import torch
from torch import Tensor


def gumbel_softmax(logits: Tensor, generators: Sequence[torch.Generator], temperature: float) -> Tensor:
    """Draw a mixture of words for each place: softmax((logits + g) / temperature), g standard Gumbel.

    Args:
        logits: (B, K, C).
        generators: B, each drawing its own row's g.

    Returns:
        (B, K, C), summing to 1 over C.
    """
    rows = [torch.empty(logits.shape[1:]).exponential_(generator=generator) for generator in generators]
    gumbel = -torch.stack(rows).to(logits).clamp(min=torch.finfo(torch.float32).tiny).log()
    return ((logits + gumbel) / temperature).softmax(dim=-1)


def draw_words(logits: Tensor, generator: torch.Generator) -> list[int]:
    """Draw one word for each place of a prompt.

    Args:
        logits: (K, C).
    """
    probabilities = logits.detach().cpu().double().softmax(dim=-1)
    return torch.multinomial(probabilities, 1, generator=generator).squeeze(1).tolist()
