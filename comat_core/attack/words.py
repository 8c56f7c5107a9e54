"""The words that an attack may add to a prompt, and where they stand among its tokens."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import torch
from torch import Tensor

from comat_core.backbones.protocol import TEXT_ENCODERS, Backbone
from comat_core.support.errors import UserError

WORD_END: Final = "</w>"
PLACEHOLDER: Final = "a"
"""A word of one token that holds the places of added words open."""
TOKENIZERS: Final = ("CLIPTokenizer", "CLIPTokenizerFast")


@dataclass(frozen=True)
class OpenPrompts:
    """B prompts with K places after their words."""

    texts: list[str]
    """With a placeholder in each place."""
    places: Tensor
    """(B, K) positions on the encoder's axis, start token included."""
    ends: Tensor
    """(B,) positions of the end of text."""


class AddableWords:
    """Every token that is a whole word by itself, so that a text with such words has those very tokens again.

    Special tokens and parts of words are none: what the attack finds can be typed.
    """

    def __init__(self, tokenizer: Any, source: str) -> None:
        """Look through the tokenizer's vocabulary.

        Args:
            tokenizer: of CLIP.
            source: of the checkpoint, for the reader of an error.
        """
        self._tokenizer = tokenizer
        self._source = source
        special = set(tokenizer.all_special_ids)
        pieces = sorted((number, piece) for piece, number in tokenizer.get_vocab().items())
        ends = [number for number, piece in pieces if piece.endswith(WORD_END) and number not in special]
        texts = {number: tokenizer.decode([number]).strip() for number in ends}
        typed = [number for number, text in texts.items() if text.isprintable()]
        found = tokenizer([texts[number] for number in typed], add_special_tokens=False).input_ids if typed else []
        self.tokens = torch.tensor([one for one, again in zip(typed, found, strict=True) if again == [one]])
        """(C,) ids, ascending."""
        self._length: int = tokenizer.model_max_length
        if self._numbers([PLACEHOLDER])[0][1:-1] not in [[one] for one in self.tokens.tolist()]:
            raise UserError("the tokenizer has no words of one token", source, "use a checkpoint with CLIP's tokenizer")

    @classmethod
    def of(cls, model: Backbone) -> "AddableWords":
        """The words of a model whose text encoders all read the same tokens.

        Raises:
            UserError: one of them is none of CLIP's, or they have different vocabularies.
        """
        encoders = [name for name in TEXT_ENCODERS if getattr(model.pipeline, name, None) is not None]
        tokenizers = [getattr(model.pipeline, name.replace("text_encoder", "tokenizer")) for name in encoders]
        if any(type(tokenizer).__name__ not in TOKENIZERS for tokenizer in tokenizers):
            raise UserError(
                "the attack on prompts searches among CLIP's words, and this model has another text encoder",
                model.source,
                "use a Stable Diffusion or SDXL checkpoint",
            )
        first = tokenizers[0].get_vocab()
        if any(tokenizer.get_vocab() != first for tokenizer in tokenizers[1:]):
            raise UserError("the text encoders have different vocabularies", model.source, "use another checkpoint")
        return cls(tokenizers[0], model.source)

    def open(self, prompts: Sequence[str], count: int) -> OpenPrompts:
        """Open places for `count` words after each prompt.

        Raises:
            UserError: a prompt leaves no room for them.
        """
        texts = [self.write(prompt, [PLACEHOLDER] * count) for prompt in prompts]
        lengths = [len(numbers) - 2 for numbers in self._numbers(prompts)]
        for prompt, length, opened in zip(prompts, lengths, self._numbers(texts), strict=True):
            if length + count + 2 > self._length:
                problem = f"the prompt has {length} tokens and {count} more find no room in {self._length - 2}"
                raise UserError(problem, f"prompt {prompt!r}", "shorten the prompt, or add fewer tokens")
            assert len(opened) == length + count + 2, f"the placeholders are no tokens of their own after {prompt!r}"
        first = torch.tensor(lengths) + 1
        return OpenPrompts(texts, first[:, None] + torch.arange(count), first + count)

    def ends(self, prompts: Sequence[str]) -> Tensor:
        """(B,) positions of the end of text."""
        return torch.tensor([len(numbers) - 1 for numbers in self._numbers(prompts)])

    def read(self, choices: Sequence[int]) -> list[str]:
        """The words of that number among `tokens`."""
        return [self._tokenizer.decode([number]).strip() for number in self.tokens[list(choices)].tolist()]

    def write(self, prompt: str, words: Sequence[str]) -> str:
        """The prompt with words after it."""
        return " ".join([prompt, *words])

    def _numbers(self, texts: Sequence[str]) -> list[list[int]]:
        return self._tokenizer(list(texts)).input_ids
