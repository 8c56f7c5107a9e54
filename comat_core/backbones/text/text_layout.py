"""Where the words of a prompt stand on the text axis of a backbone's attention maps."""

from collections.abc import Iterator, Sequence
from typing import Any, Final

from comat_core.backbones.family import Family, TextStream
from comat_core.language.token_alignment import AlignedSpan, Span, align_prompts
from comat_core.support.errors import UserError

LONGEST_ENCODER: Final = 100_000  # tokens; tokenizers that know no limit report far more


class TextLayout:
    """The tokenizers of one checkpoint, each with its part of the axis."""

    def __init__(self, streams: Sequence[tuple[TextStream, Any]], source: str) -> None:
        """Lay streams out one after the other.

        Args:
            streams: each with its loaded tokenizer, None where the checkpoint was saved without.
            source: of the checkpoint, for the reader of an error.

        Raises:
            UserError: a tokenizer does not say how many tokens its encoder reads.
        """
        self._streams: list[tuple[TextStream, Any, int, int]] = []
        first = 0
        for stream, tokenizer in streams:
            length = stream_length(stream, tokenizer, source)
            if tokenizer is not None:
                self._streams.append((stream, tokenizer, first, length))
            first += length

    @property
    def tokenizers(self) -> list[tuple[Any, int]]:
        """Each with the length of its part of the axis, in the axis' order."""
        return [(tokenizer, length) for _, tokenizer, _, length in self._streams]

    def align_prompts(
        self, prompts: Sequence[str], spans: Sequence[Sequence[Span]]
    ) -> Iterator[tuple[AlignedSpan, ...]]:
        """Find the columns of each span of each prompt, in all streams together.

        A span is cut off when every stream cuts it off.

        Args:
            spans: per prompt, its spans in characters.

        Raises:
            UserError: a tokenizer is a slow one and knows no offsets.
        """
        per_stream = [self._aligned_in(*stream, prompts, spans) for stream in self._streams]
        for of_prompt in zip(*per_stream, strict=True):
            yield tuple(_merged(parts) for parts in zip(*of_prompt, strict=True))

    def _aligned_in(
        self,
        stream: TextStream,
        tokenizer: Any,
        first: int,
        length: int,
        prompts: Sequence[str],
        spans: Sequence[Sequence[Span]],
    ) -> Iterator[tuple[AlignedSpan, ...]]:
        instruction = stream.instruction() if stream.instruction is not None else ""
        dropped = _dropped_tokens(tokenizer, instruction)
        first_kept = dropped + 1 if dropped else 0
        rows = [_as_encoded(stream, instruction + stream.prefix, *row) for row in zip(prompts, spans, strict=True)]
        texts, moved = [text for text, _ in rows], [row for _, row in rows]
        for aligned in align_prompts(tokenizer, texts, moved, length + dropped):
            yield tuple(
                AlignedSpan(
                    tuple(first + token - dropped for token in span.tokens if token >= first_kept), span.cut_off
                )
                for span in aligned
            )


def _dropped_tokens(tokenizer: Any, instruction: str) -> int:
    """How many tokens after the first one make room for the prompt.

    As SANA's pipeline counts: all of the instruction's but the start token and the last, a space that may become part
    of the prompt's first word.
    """
    return len(tokenizer(instruction).input_ids) - 2 if instruction else 0


def _as_encoded(stream: TextStream, before: str, prompt: str, spans: Sequence[Span]) -> tuple[str, list[Span]]:
    """The text that the stream's tokenizer is given for a prompt, and where the prompt's spans lie in it."""
    if not stream.lower_case:
        moved_by = len(before)
        return before + prompt, [(start + moved_by, end + moved_by) for start, end in spans]
    lowered = prompt.lower()
    stripped_off = len(lowered) - len(lowered.lstrip())

    def moved(position: int) -> int:
        # Lower case may be longer: that of the Turkish capital I with a dot is two characters.
        return len(before) + max(0, len(prompt[:position].lower()) - stripped_off)

    return before + lowered.strip(), [(moved(start), moved(end)) for start, end in spans]


def stream_length(stream: TextStream, tokenizer: Any, source: str) -> int:
    """How many tokens a stream has.

    Args:
        tokenizer: None where the checkpoint was saved without.

    Raises:
        UserError: the tokenizer does not state its maximal length, and the stream has none of its own.
    """
    own = LONGEST_ENCODER + 1 if tokenizer is None else tokenizer.model_max_length
    length = own if stream.longest is None else min(own, stream.longest)
    if length > LONGEST_ENCODER:
        raise UserError("the tokenizer does not state its maximal length", source, "set model_max_length in its config")
    return length


def load_text_layout(family: Family, source: str, load_tokenizer: Any, parts: Sequence[str]) -> TextLayout:
    """Load the tokenizers of a checkpoint.

    Args:
        source: of the checkpoint, for the reader of an error.
        load_tokenizer: from the name of a part.
        parts: names of those that the checkpoint has.
    """
    streams = family.text_streams
    return TextLayout(
        [(stream, load_tokenizer(stream.tokenizer) if stream.encoder in parts else None) for stream in streams], source
    )


def _merged(parts: Sequence[AlignedSpan]) -> AlignedSpan:
    tokens = tuple(token for part in parts for token in part.tokens)
    return AlignedSpan(tokens, cut_off=all(part.cut_off for part in parts))
