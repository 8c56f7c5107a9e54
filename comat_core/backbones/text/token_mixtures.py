"""Prompts some of whose tokens are mixtures: what a search over words by gradient gives a text encoder to read."""

from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn


@dataclass(frozen=True)
class TokenMixtures:
    """Some places of B prompts, with a mixture of C tokens in each of them."""

    places: Tensor
    """(B, K) positions on the encoder's axis, start token included."""
    tokens: Tensor
    """(C,) ids in the vocabulary."""
    weights: Tensor
    """(B, K, C): shares of the tokens in each place, with their graph."""


@contextmanager
def mixed_tokens(encoders: Iterable[nn.Module], mixtures: TokenMixtures) -> Iterator[None]:
    """Within the context, encoders of transformers read mixtures in the places named, whatever stands there.

    CLIP's text model of transformers takes ids alone. So its own forward pass runs on ids, which say where the text
    ends, and only what its table of embeddings gives for the places is exchanged: sum over tokens of weight times
    embedding. One weight of 1 gives a token's own embedding, to the bit.
    """

    def exchange(table: Any, _arguments: tuple[Any, ...], embedded: Tensor) -> Tensor:
        vectors = table.weight[mixtures.tokens.to(table.weight.device)]
        mixed = mixtures.weights.to(vectors) @ vectors
        places = mixtures.places.to(embedded.device).unsqueeze(-1).expand(-1, -1, embedded.shape[-1])
        assert len(embedded) == len(places), f"{len(places)} rows of mixtures for {len(embedded)} prompts"
        return embedded.scatter(1, places, mixed)

    with ExitStack() as stack:
        for encoder in encoders:
            table: Any = encoder.get_input_embeddings()  # pyright: ignore[reportCallIssue]
            stack.callback(table.register_forward_hook(exchange).remove)
        yield
