"""The noun phrases of a prompt, articles included: "a red circle", "a striped square"."""

from collections.abc import Sequence
from typing import Final

from spacy.language import Language
from spacy.tokens import Span as DocSpan

from comat_core.language.entities import ParserText, Span
from comat_core.language.parsers import parse_in_blocks

PLACES: Final = frozenset({"top", "bottom", "side", "left", "right", "front", "back", "middle", "center", "centre"})
"""Nouns that alone, or with an article, only tell where something is: "on the left of"."""


def noun_phrase_spans(prompts: Sequence[str], nlp: Language, *, batch_size: int = 256) -> list[list[Span]]:
    """Find each prompt's noun phrases, those that hold no other (spaCy's noun chunks), without pronouns and places.

    Args:
        nlp: any spaCy pipeline with a tagger and a dependency parser.

    Returns:
        Per prompt, the spans of its phrases in characters of the prompt as given, in its order.
    """
    shown = ((text.shown, text) for text in map(ParserText.of, prompts))
    return [
        [
            text.span_in_prompt((chunk.start_char, chunk.end_char))
            for chunk in doc.noun_chunks
            if chunk.root.pos_ != "PRON" and not _is_place(chunk)
        ]
        for doc, text in parse_in_blocks(nlp, shown, batch_size=batch_size)
    ]


def _is_place(chunk: DocSpan) -> bool:
    return {token.lower_ for token in chunk if token.pos_ != "DET"} <= PLACES
