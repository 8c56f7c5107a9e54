"""Counterfactuals of a prompt: texts that are nearly the same and wrong, each in one respect."""

import re
from typing import Final

from spacy.tokens import Doc

from comat_core.language.corruptions import corruptions
from comat_core.language.noun_filter import NounFilter

OPPOSITE_PLACES: Final = (
    ("above", "below"),
    ("over", "under"),
    ("on top of", "underneath"),
    ("on the top of", "on the bottom of"),
    ("to the left of", "to the right of"),
    ("on the left of", "on the right of"),
    ("left of", "right of"),
    ("on the left", "on the right"),
    ("in front of", "behind"),
    ("inside", "outside"),
)
_OPPOSITES: Final = {word: other for pair in OPPOSITE_PLACES for word, other in (pair, pair[::-1])}
_PLACE: Final = re.compile(
    r"\b(?:" + "|".join(re.escape(word) for word in sorted(_OPPOSITES, key=len, reverse=True)) + r")\b", re.IGNORECASE
)


def counterfactuals(doc: Doc, words: NounFilter) -> list[str]:
    """Wrong forms of a parsed prompt, each once and none equal to it; empty for a prompt that offers nothing to change.

    In this order, as far as the prompt has them: attributes swapped between two objects, subject and object exchanged,
    singular and plural exchanged, the first word for a place turned into its opposite.
    """
    forms = [*corruptions(doc, words).values(), _other_place(doc.text)]
    return list(dict.fromkeys(form for form in forms if isinstance(form, str) and form != doc.text))


def _other_place(text: str) -> str | None:
    found = _PLACE.search(text)
    if found is None:
        return None
    return text[: found.start()] + _OPPOSITES[found.group().lower()] + text[found.end() :]
