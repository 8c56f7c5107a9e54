"""A first lesson of a text encoder: to remember, behind a word for a place, which place it was.

The text encoder of the original model had read hundreds of millions of captions before it met its task. Ours learns to
read from the error of the images alone, and what these do not show at once it forgets.
"""

from typing import Final

import torch
from torch import Tensor
from torch.nn import functional
from transformers import CLIPTokenizer

from comat_core.support.randomness import make_generator
from data.miniature_world.vocabulary import RELATIONS

NO_PLACE: Final = 0
"""Class of the tokens before any word for a place."""


class PlaceReading:
    """The lesson. It has no weights: each place has a direction of its own, and the encoder is to write along it."""

    def __init__(self, tokenizer: CLIPTokenizer, width: int, seed: int) -> None:
        words = [next(word for word in relation.split() if word not in ("to", "the", "of")) for relation in RELATIONS]
        self.tokens = torch.tensor(tokenizer.convert_tokens_to_ids([f"{word}</w>" for word in words]))
        directions = torch.randn(1 + len(RELATIONS), width, generator=make_generator(seed, "places read"))
        self.directions = functional.normalize(directions, dim=-1)

    def labels(self, tokens: Tensor) -> Tensor:
        """Class of each of the token ids (B, L): NO_PLACE, or 1 + the index of the place named up to it.

        A caption names one place at most.
        """
        named = (tokens[..., None] == self.tokens).long() * torch.arange(1, 1 + len(self.tokens))
        return named.sum(dim=-1).cummax(dim=1).values

    def loss(self, prompt_embeds: Tensor, tokens: Tensor) -> Tensor:
        """Mean cross entropy of the places in prompt_embeds (B, L, width), of token ids (B, L)."""
        logits = prompt_embeds.float() @ self.directions.T
        return functional.cross_entropy(logits.flatten(0, 1), self.labels(tokens).flatten())
