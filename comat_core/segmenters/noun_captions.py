"""The caption that asks GroundingDINO for nouns, and which of its tokens belong to which noun."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

SEPARATOR = " . "
"""GroundingDINO reads the parts between full stops as separate phrases, each blind to the others."""


@dataclass(frozen=True)
class NounCaption:
    """Some nouns joined into one caption."""

    text: str
    noun_indices: tuple[int, ...]
    """Which of the asked nouns stand in the caption, in its order."""
    token_spans: tuple[range, ...]
    """Of each of these nouns, its columns in the detector's token logits."""
    token_offsets: tuple[tuple[int, int], ...]
    """(start, end) characters of every token of the caption."""

    def phrase(self, columns: Sequence[int]) -> str:
        """Cut out the text from the first to the last of the given tokens."""
        return self.text[self.token_offsets[min(columns)][0] : self.token_offsets[max(columns)][1]]


def write_captions(tokenizer: Any, nouns: Sequence[str], max_tokens: int) -> list[NounCaption]:
    """Join nouns into as few captions as hold them all.

    Nouns are matched by the place of their tokens, never by decoded text, so that plurals, rare words of many pieces,
    and nouns contained in one another ("dog", "hot dog") keep apart. Repeated nouns stand in the caption once each
    time.

    Args:
        tokenizer: the detector's, a fast one that adds one token before and one after a text.
        nouns: full stops and question marks in them are dropped, as they would end the phrase; a noun without any other
            sign is in no caption.
        max_tokens: that the detector reads of a caption; a longer single noun is cut.
    """
    captions = []
    room, words, indices = max_tokens - 2, [], []
    for index, noun in enumerate(nouns):
        cleaned = " ".join(noun.lower().replace(".", " ").replace("?", " ").split())
        length = len(tokenizer(cleaned, add_special_tokens=False)["input_ids"]) + 1
        if length == 1:
            continue
        if words and length > room:
            captions.append(_write_caption(tokenizer, words, indices, max_tokens))
            room, words, indices = max_tokens - 2, [], []
        room -= length
        words.append(cleaned)
        indices.append(index)
    if words:
        captions.append(_write_caption(tokenizer, words, indices, max_tokens))
    return captions


def _write_caption(tokenizer: Any, words: Sequence[str], indices: Sequence[int], max_tokens: int) -> NounCaption:
    text = SEPARATOR.join(words) + SEPARATOR.rstrip()
    offsets = tokenizer(text, return_offsets_mapping=True)["offset_mapping"][:max_tokens]
    spans, start = [], 0
    for word in words:
        end = start + len(word)
        columns = [column for column, (first, last) in enumerate(offsets) if start <= first < last <= end]
        spans.append(range(columns[0], columns[-1] + 1))
        start = end + len(SEPARATOR)
    return NounCaption(text, tuple(indices), tuple(spans), tuple(offsets))
