"""Tokens of a batch of captions, which of them count, and their log-likelihood under a decoder's logits."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from comat_core.captioners.protocol import CaptionLikelihood
from comat_core.support.numerics import at_least_float32

_IGNORED = -100
"""The target that torch's cross entropy skips."""


@dataclass(frozen=True)
class CaptionTokens:
    """A right-padded batch: row = tokens of the given text, tokens of the caption, token that ends it, padding."""

    input_ids: Tensor
    """(B, T) integers."""
    attention_mask: Tensor
    """(B, T) integers, 0 on padding."""
    counted: Tensor
    """(B, T) booleans, true where a token's likelihood counts; never at the first token: nothing predicts it."""
    first_counted: int
    """The first column that counts in any row."""

    def to(self, device: torch.device) -> "CaptionTokens":
        return CaptionTokens(
            self.input_ids.to(device), self.attention_mask.to(device), self.counted.to(device), self.first_counted
        )

    @property
    def predicting_positions(self) -> Tensor:
        """Positions, counted from the sequence's end, whose logits predict the columns from the first counted one on.

        Counted from the end they are also right where image tokens precede the text. A decoder that gets them as
        `logits_to_keep` spends no vocabulary projection on anything else.
        """
        columns = self.input_ids.shape[1] - self.first_counted
        return torch.arange(-columns - 1, -1, device=self.input_ids.device)


def tokenize_captions(
    tokenizer: Any, given: str, captions: Sequence[str], *, max_length: int, ending: str = ""
) -> CaptionTokens:
    """Tokenize the given text, a space, the caption and its ending, for each caption, and mark what counts.

    White space around a caption is dropped; an empty caption leaves its ending alone to count.

    A token counts if it covers a character after the given text, found by character offsets, or if it is the special
    token with which the tokenizer ends a text. A caption longer than the model can read is cut; its ending does not
    count then, because the caption does not end there.

    Args:
        tokenizer: a fast tokenizer.
        given: text that is not scored: a prefix, an instruction, or "".
        max_length: of a row, in tokens.
        ending: text of the end token where the tokenizer does not add one by itself.
    """
    separator = "" if not given or given[-1].isspace() else " "
    encoding = tokenizer(
        [given + (separator if caption.strip() else "") + caption.strip() + ending for caption in captions],
        padding=True,
        padding_side="right",
        truncation=True,
        max_length=max_length,
        return_offsets_mapping=True,
        return_tensors="pt",
    )
    attention_mask = encoding["attention_mask"]
    counted = encoding["offset_mapping"][..., 1] > len(given)
    complete = torch.tensor([not row.overflowing for row in encoding.encodings])
    counted[torch.arange(len(captions)), attention_mask.sum(dim=1) - 1] |= complete
    counted[:, 0] = False
    assert counted.any(), f"no room for a caption: the given text alone fills {max_length} tokens"
    first_counted = int(counted.any(dim=0).nonzero()[0])
    return CaptionTokens(encoding["input_ids"], attention_mask, counted, first_counted)


def caption_likelihood(logits: Tensor, tokens: CaptionTokens) -> CaptionLikelihood:
    """Read the log-likelihood of the counted tokens off the logits that predict them, in float32 at least.

    Args:
        logits: (B, L, V), those of `tokens.predicting_positions`.
        tokens: of the same batch, on the same device.
    """
    mask = tokens.counted[:, tokens.first_counted :]
    targets = tokens.input_ids[:, tokens.first_counted :].masked_fill(~mask, _IGNORED)
    negative = functional.cross_entropy(
        at_least_float32(logits).flatten(0, 1), targets.flatten(), ignore_index=_IGNORED, reduction="none"
    )
    return CaptionLikelihood(-negative.view_as(targets), mask)
