"""What a spatial prompt asks for: two nouns and the words that tell how the first stands to the second."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from comat_core.metrics.attribute_binding import EXCLUDED_CHUNKS
from comat_core.metrics.spatial import LOCALITIES, Mode, locality_of

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
"""Words at which the official script cuts a complex prompt, in the order in which it looks for them."""

UNKNOWN_TO_UNIDET: Final = frozenset(
    {"wallet", "mouse", "cow", "table", "phone", "sofa", "bag", "painting", "computer"}
)
"""Nouns of the validation prompts that are no label of the official detector, which therefore never finds them."""


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

    The official script takes the first and the last noun; in complex prompts the last noun or name before the words for
    the place, and after them the first noun or, without one, the last word of the first name. The corrected mode takes
    the noun phrase's head on either side of the words in all prompts, so that "an orange star" is a star.

    Args:
        localities: words that may tell the place, in the order in which they are looked for.
    """
    locality = locality_of(doc.text, localities)
    if mode == "corrected":
        heads = [chunk.root for chunk in doc.noun_chunks if chunk.text.lower() not in EXCLUDED_CHUNKS]
        chosen = _around(doc, heads, heads, () if locality is None else (locality,))
    elif is_complex:
        nouns = [token for token in doc if token.pos_ == "NOUN"]
        names = [token for token in doc if token.pos_ == "PROPN"]
        ends = [name for name in names if name.i + 1 < len(doc) and name.nbor().pos_ != "PROPN"]
        chosen = _around(doc, sorted([*nouns, *names], key=lambda token: token.i), [*nouns, *ends], COMPLEX_SPLITS)
    else:
        nouns = [token for token in doc if token.pos_ == "NOUN"]
        chosen = nouns[:1] + nouns[-1:]
    if len(chosen) != 2 or chosen[0].i == chosen[1].i:
        return None
    first, second = chosen
    return Relation((first.text.lower(), second.text.lower()), locality, (_phrase(first), _phrase(second)))


def _phrase(noun: "Token") -> str:
    words = [word for word in noun.subtree if word.i <= noun.i and word.dep_ not in ("det", "prep", "punct")]
    return " ".join(word.text.lower() for word in words)


def _around(doc: "Doc", before: Sequence["Token"], after: Sequence["Token"], words: Sequence[str]) -> list["Token"]:
    """Look on both sides of the first of the words that the prompt contains: last of `before`, first of `after`."""
    found = next((word for word in words if word in doc.text), None)
    if found is None:
        return []
    start = doc.text.index(found)
    in_front = [token for token in before if token.idx < start]
    behind = [token for token in after if token.idx >= start + len(found)]
    return [*in_front[-1:], *behind[:1]]
