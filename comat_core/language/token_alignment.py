"""From characters of a prompt to the text encoder's tokens, by the tokenizer's own offsets."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from transformers import PreTrainedTokenizerBase

from comat_core.support.errors import UserError

Span = tuple[int, int]
"""First character and the one after the last."""


@dataclass(frozen=True, slots=True)
class AlignedSpan:
    """The tokens of one span: positions in the encoder's input sequence, its start token included in the count."""

    tokens: tuple[int, ...]
    """Empty when the span is cut off, and when the tokenizer drops all its characters."""
    cut_off: bool
    """Whether some of the span's tokens lie beyond the maximal length; half a word is not worth attending to."""


def align(
    tokenizer: PreTrainedTokenizerBase, prompt: str, spans: Sequence[Span], max_length: int
) -> tuple[AlignedSpan, ...]:
    """Find the tokens of each span of one prompt; see `align_prompts`."""
    return next(align_prompts(tokenizer, [prompt], [spans], max_length))


def align_prompts(
    tokenizer: PreTrainedTokenizerBase, prompts: Sequence[str], spans: Sequence[Sequence[Span]], max_length: int
) -> Iterator[tuple[AlignedSpan, ...]]:
    """Find the tokens of each span of each prompt.

    A token belongs to a span when they share a character of the prompt as given. The tokenizer keeps track of what its
    normalisation did (lower case, composed letters, collapsed white space), so equal words at two places and words that
    begin alike are never mixed up.

    Args:
        tokenizer: a fast tokenizer, called as the diffusers pipelines call it: truncated to `max_length` tokens, start
            and end tokens included.
        spans: per prompt, its spans in characters.

    Raises:
        UserError: the tokenizer is a slow one and knows no offsets.
    """
    if not tokenizer.is_fast:
        raise UserError(
            "the tokenizer does not tell character offsets",
            type(tokenizer).__name__,
            "use a model with a fast tokenizer",
        )
    encoded = tokenizer(list(prompts), max_length=max_length, truncation=True, add_special_tokens=True)
    for index, prompt_spans in enumerate(spans):
        encoding = encoded[index]  # type: ignore[index]  # an integer gives the backend's encoding
        offsets = encoding.offsets
        beyond = [one for rest in encoding.overflowing for one in rest.offsets]
        yield tuple(
            AlignedSpan((), cut_off=True)
            if beyond and _overlapping(beyond, span)
            else AlignedSpan(_overlapping(offsets, span), cut_off=False)
            for span in prompt_spans
        )


def _overlapping(offsets: Sequence[Span], span: Span) -> tuple[int, ...]:
    """Positions of the tokens that share a character with the span; start, end and padding tokens cover none."""
    start, end = span
    return tuple(i for i, (first, last) in enumerate(offsets) if first < end and last > start and first < last)
