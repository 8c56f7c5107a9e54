"""What a spatial prompt asks for: two nouns and the words that tell how the first stands to the second."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from comat_core.language.grammar.pronouns import is_pronoun
from comat_core.metrics.attribute_binding import EXCLUDED_CHUNKS
from comat_core.metrics.spatial import LOCALITIES, Mode, find_locality, locality_of

if TYPE_CHECKING:
    from spacy.tokens import Doc, Token

COMPLEX_SPLITS: Final = (
    "on top of",
    "on bottom of",
    "on the left",
    "on the right",
    "next to",
    "on side of",
    "near",
)
"""Words on whose two sides the official script looks for the objects of a complex prompt."""

UNKNOWN_TO_UNIDET: Final = frozenset(
    {"wallet", "mouse", "cow", "table", "phone", "sofa", "bag", "painting", "computer"}
)
"""Nouns of the validation prompts that are no label of the official detector, which therefore never finds them."""


def is_known_to_unidet(noun: str) -> bool:
    """Whether the official detector may find a noun as the prompt writes it; its labels have no capitals."""
    return noun not in UNKNOWN_TO_UNIDET and noun == noun.lower()


@dataclass(frozen=True)
class Relation:
    """Two nouns, and the words between them that tell the place (None if there are none)."""

    nouns: tuple[str, str]
    locality: str | None
    phrases: tuple[str, str]
    """Each noun with the words that describe it in front, without articles."""


def read_relation(
    doc: "Doc", mode: Mode = "corrected", *, is_complex: bool = False, localities: Sequence[str] = LOCALITIES
) -> Relation | None:
    """Read a parsed prompt; None if it does not name two objects.

    The official script takes the first and the last noun, be they the same; in complex prompts what stands around every
    one of the words for a place, which has to be two objects in all. The corrected mode takes the noun phrase's head on
    either side of the words in all prompts, so that "an orange star" is a star, and passes over pronouns.

    Args:
        localities: words that may tell the place, in the order in which they are looked for.

    Returns:
        The nouns in lower case, except in the official mode, whose detector knows no word with a capital.
    """
    locality = locality_of(doc.text, localities, mode)
    if mode == "corrected":
        chunks = [chunk for chunk in doc.noun_chunks if chunk.text.lower() not in EXCLUDED_CHUNKS]
        heads = [chunk.root for chunk in chunks if not is_pronoun(chunk.root)]
        chosen = [] if locality is None else _around(doc, heads, locality)
    elif is_complex:
        chosen = _around_every_place(doc)
    else:
        nouns = [token for token in doc if token.pos_ == "NOUN"]
        chosen = nouns[:1] + nouns[-1:]
    is_placed = mode == "official" and locality is not None
    if len(chosen) != 2 or (chosen[0].i == chosen[1].i and not is_placed):
        return None
    first, second = ((token.text if mode == "official" else token.lower_) for token in chosen)
    return Relation((first, second), locality, (_phrase(chosen[0]), _phrase(chosen[1])))


def _phrase(noun: "Token") -> str:
    words = [word for word in noun.subtree if word.i <= noun.i and word.dep_ not in ("det", "prep", "punct")]
    return " ".join(word.text.lower() for word in words)


def _around(doc: "Doc", heads: Sequence["Token"], place: str) -> list["Token"]:
    """The last of the heads in front of the words for the place, and the first behind them."""
    start = find_locality(doc.text, place, "corrected")
    assert start is not None, "the prompt contains the words"
    in_front = [token for token in heads if token.idx < start]
    behind = [token for token in heads if token.idx >= start + len(place)]
    return [*in_front[-1:], *behind[:1]]


def _around_every_place(doc: "Doc") -> list["Token"]:
    """What the official script finds around all the words for places of a complex prompt, in its order.

    Around each, that is the last noun or name in front and the first noun behind or, without one, the last word of the
    first name that does not end the prompt.
    """
    found = []
    for start in range(len(doc)):
        size = next((size for size in (3, 2, 1) if doc[start : start + size].text in COMPLEX_SPLITS), None)
        if size is not None:
            in_front = [token for token in doc[:start] if token.pos_ in ("NOUN", "PROPN")]
            behind = doc[start + size :]
            nouns = [token for token in behind if token.pos_ == "NOUN"]
            names = [token for token in behind[:-1] if token.pos_ == "PROPN" and token.nbor().pos_ != "PROPN"]
            found += [*in_front[-1:], *(nouns or names)[:1]]
    return found
