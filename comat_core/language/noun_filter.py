"""Which words of a prompt can become entities and attributes: word lists, given as data."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from comat_core.support.errors import UserError

SECTIONS = ("remove", "remove before of", "never attributes", "attribute words")


@dataclass(frozen=True)
class NounFilter:
    """The word lists of the entity parser; every word is a lemma in lower case.

    The default lists are empty: such a filter removes nothing.
    """

    remove: Mapping[str, frozenset[str]] = field(default_factory=dict)
    """Reason ("abstract", "background", ...) -> nouns that never become entities."""
    remove_before_of: frozenset[str] = frozenset()
    """Nouns that hold others ("a group of dogs"): no entity when "of" follows."""
    never_attributes: frozenset[str] = frozenset()
    """Modifiers that no region of an image shows: amounts, degrees, pointers."""
    attribute_words: frozenset[str] = frozenset()
    """Words that taggers take for nouns though they stand as attributes: "a orange star", "the star is orange"."""

    @classmethod
    def from_mapping(cls, lists: Mapping[str, Any], where: str = "the noun filter") -> "NounFilter":
        """Read the lists as `data/noun_filter.yaml` lays them out; `where` names the source in error messages."""
        unknown = sorted(set(lists) - set(SECTIONS))
        if unknown:
            raise UserError(f"unknown section {unknown[0]!r}", where, f"use the sections {', '.join(SECTIONS)}")
        remove = lists.get("remove") or {}
        if not isinstance(remove, Mapping):
            raise UserError("section 'remove' is not a mapping of reasons to words", where, "give each reason its list")
        return cls(
            remove={str(reason): _words(words, where, str(reason)) for reason, words in remove.items()},
            remove_before_of=_words(lists.get("remove before of"), where, "remove before of"),
            never_attributes=_words(lists.get("never attributes"), where, "never attributes"),
            attribute_words=_words(lists.get("attribute words"), where, "attribute words"),
        )

    def reason_to_remove(self, lemma: str, before_of: bool = False) -> str | None:
        """Tell why a noun is no entity, or None when it is one. `before_of`: the noun's next word is "of"."""
        for reason, words in self.remove.items():
            if lemma in words:
                return f"{reason}: {lemma}"
        if before_of and lemma in self.remove_before_of:
            return f"container: {lemma} of"
        return None


def _words(words: Iterable[Any] | None, where: str, section: str) -> frozenset[str]:
    if words is None:
        return frozenset()
    if isinstance(words, str | Mapping) or not all(isinstance(word, str) for word in words):
        raise UserError(
            f"section {section!r} is not a list of words", where, "write one word per list item, in quotes if needed"
        )
    return frozenset(word.lower() for word in words)
