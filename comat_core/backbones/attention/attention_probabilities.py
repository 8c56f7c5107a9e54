"""How much each query attends to each key: the probabilities that fused attention never writes down.

Where image positions share a softmax with each other they are computed head by head: a transformer's image has
thousands of positions, and the probabilities of all heads together would be gigabytes per layer, of which a map keeps
the few columns of the text.
"""

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from comat_core.support.numerics import at_least_float32, full_precision


def head_averaged_probabilities(queries: Tensor, keys: Tensor, bias: Tensor | None = None) -> Tensor:
    """Mean over heads of softmax(Q K^T / sqrt(d) + bias), in float32 at least.

    Args:
        queries: (rows, heads, pixels, d).
        keys: (rows, heads, keys, d).
        bias: broadcast to (rows, heads, pixels, keys).

    Returns:
        (rows, pixels, keys).
    """
    with full_precision(queries.device):
        return _scores(queries, keys, bias).softmax(dim=-1).mean(dim=1)


def text_probabilities(queries: Tensor, keys: Tensor, text: slice, bias: Tensor | None = None) -> Tensor:
    """Mean over heads of the text's columns of softmax(Q K^T / sqrt(d) + bias), in float32 at least.

    One head's scores are held at a time, in the backward pass too, which computes them again.

    Args:
        queries: (rows, heads, pixels, d).
        keys: (rows, heads, keys, d), of the image's positions and the text's.
        text: which of the keys are the text's.
        bias: broadcast to (rows, heads, pixels, keys).

    Returns:
        (rows, pixels, tokens), summing over tokens to at most 1.
    """
    heads = queries.shape[1]
    biases = [None] * heads if bias is None else bias.expand(-1, heads, -1, -1).unbind(1)
    total = torch.zeros((), device=queries.device)
    for of_head in zip(queries.unbind(1), keys.unbind(1), biases, strict=True):
        part = checkpoint(_of_one_head, *of_head, text, use_reentrant=False, preserve_rng_state=False)
        assert isinstance(part, Tensor)
        total = total + part
    return total / heads


def _of_one_head(queries: Tensor, keys: Tensor, bias: Tensor | None, text: slice) -> Tensor:
    """Probabilities (rows, pixels, tokens) of queries (rows, pixels, d) and keys (rows, keys, d)."""
    with full_precision(queries.device):
        scores = _scores(queries, keys, bias)
        return (scores[..., text] - scores.logsumexp(dim=-1, keepdim=True)).exp()


def _scores(queries: Tensor, keys: Tensor, bias: Tensor | None) -> Tensor:
    """Q K^T / sqrt(d) + bias, in float32 at least."""
    queries, keys = at_least_float32(queries), at_least_float32(keys)
    scores = (queries * queries.shape[-1] ** -0.5) @ keys.transpose(-1, -2)
    return scores if bias is None else scores + bias.to(scores.dtype)
