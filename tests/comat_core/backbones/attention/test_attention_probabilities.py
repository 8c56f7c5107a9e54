"""The text's part of a joint softmax: the same as of the whole, with the same gradient, and never the whole kept."""

import pytest
import torch
from torch import Tensor

from comat_core.backbones.attention.attention_probabilities import head_averaged_probabilities, text_probabilities
from comat_core.support.randomness import make_generator

ROWS, HEADS, PIXELS, TOKENS, WIDTH = 2, 3, 10, 4, 8
KEYS = PIXELS + TOKENS


def drawn(name: str, *shape: int) -> Tensor:
    """Noise that asks for a gradient."""
    return torch.randn(shape, generator=make_generator(3, name), dtype=torch.float64).requires_grad_()


@pytest.mark.parametrize("text", [slice(0, TOKENS), slice(PIXELS, None)])
@pytest.mark.parametrize("bias_shape", [None, (1, 1, 1, KEYS), (ROWS, HEADS, PIXELS, KEYS)])
def test_it_is_the_whole_softmax_cut_to_the_text(text: slice, bias_shape: tuple[int, ...] | None) -> None:
    queries, keys = drawn("queries", ROWS, HEADS, PIXELS, WIDTH), drawn("keys", ROWS, HEADS, KEYS, WIDTH)
    bias = None if bias_shape is None else drawn("bias", *bias_shape)
    whole = head_averaged_probabilities(queries, keys, bias)[..., text]
    part = text_probabilities(queries, keys, text, bias)
    torch.testing.assert_close(part, whole)
    inputs = [queries, keys] if bias is None else [queries, keys, bias]
    weights = torch.linspace(-1, 1, part.numel(), dtype=torch.float64).view_as(part)
    for one, other in zip(
        torch.autograd.grad((part * weights).sum(), inputs),
        torch.autograd.grad((whole * weights).sum(), inputs),
        strict=True,
    ):
        torch.testing.assert_close(one, other)


def test_the_graph_keeps_no_scores() -> None:
    """What autograd holds on to is as large as queries and keys, not as pixels times keys."""
    pixels, tokens, width = 64, 4, 2
    queries, keys = drawn("queries", 1, HEADS, pixels, width), drawn("keys", 1, HEADS, pixels + tokens, width)
    kept: list[int] = []

    def keep(tensor: Tensor) -> Tensor:
        kept.append(tensor.numel())
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        text_probabilities(queries, keys, slice(0, tokens)).sum().backward()
        assert max(kept, default=0) < pixels * (pixels + tokens)
        kept.clear()
        head_averaged_probabilities(queries, keys)[..., :tokens].sum().backward()
    assert max(kept) >= pixels * (pixels + tokens)


def test_half_precision_gives_full_precision_maps() -> None:
    queries, keys = drawn("queries", 1, 2, PIXELS, WIDTH).half(), drawn("keys", 1, 2, KEYS, WIDTH).half()
    part = text_probabilities(queries, keys, slice(0, TOKENS))
    assert part.dtype == torch.float32
    torch.testing.assert_close(part, text_probabilities(queries.float(), keys.float(), slice(0, TOKENS)))
