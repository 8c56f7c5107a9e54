"""How much of the attention each word of a prompt has: the token activation of the paper's Figure 2."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from comat_core.support.errors import UserError
from stages.attention.recording import Recording
from stages.attention.words import Word

if TYPE_CHECKING:
    from comat_core.backbones.text.text_layout import TextLayout
    from comat_core.language.token_alignment import AlignedSpan, Span

WORD: Final = re.compile(r"\w+(?:[-'’]\w+)*")


@dataclass(frozen=True)
class WordShare:
    """A word's share of the attention, averaged over pixels, layers and steps.

    Attributes:
        has_map: whether the figure shows where it lies.
        by_model: model -> share, in [0, 1]: the sum over the word's tokens.
    """

    text: str
    has_map: bool
    by_model: dict[str, float]


def shares_of_prompt(
    layout: "TextLayout", prompt: str, shown: Sequence[Word], recordings: Mapping[str, Recording]
) -> list[WordShare]:
    """The share of every word that the text encoder sees, in the prompt's order.

    Args:
        shown: those that have maps.
    """
    spans = [match.span() for match in WORD.finditer(prompt)]
    with_maps = {token for word in shown for token in word.tokens}
    shares = []
    for (start, end), aligned in zip(spans, _aligned(layout, prompt, spans), strict=True):
        if aligned.tokens:
            by_model = _summed(aligned.tokens, recordings)
            shares.append(WordShare(prompt[start:end], not with_maps.isdisjoint(aligned.tokens), by_model))
    return shares


def shares_of_words(words: Sequence[Word], recordings: Mapping[str, Recording]) -> list[WordShare]:
    """The share of some words alone."""
    return [WordShare(word.text, True, _summed(word.tokens, recordings)) for word in words]


def words_named(layout: "TextLayout", prompt: str, wanted: Sequence[str], parsed: Sequence[Word]) -> list[Word]:
    """The wanted words that the prompt has, with the tokens of all places where they stand.

    Args:
        parsed: the parser's words; one that is wanted keeps its role.

    Raises:
        UserError: the text encoder does not see one of them.
    """
    roles = {tuple(word.tokens): word.role for word in parsed}
    found = []
    for text in wanted:
        spans = [match.span() for match in re.finditer(rf"(?<!\w){re.escape(text)}(?!\w)", prompt, re.IGNORECASE)]
        if not spans:
            continue
        tokens = sorted({token for aligned in _aligned(layout, prompt, spans) for token in aligned.tokens})
        if not tokens:
            raise UserError(f"the text encoder does not see {text!r}", prompt, "choose other words with --word")
        found.append(Word(text, roles.get(tuple(tokens), "chosen"), tokens))
    return found


def _aligned(layout: "TextLayout", prompt: str, spans: "Sequence[Span]") -> "tuple[AlignedSpan, ...]":
    return next(layout.align_prompts([prompt], [spans]))


def _summed(tokens: Sequence[int], recordings: Mapping[str, Recording]) -> dict[str, float]:
    return {model: sum(recording.activations[token] for token in tokens) for model, recording in recordings.items()}
