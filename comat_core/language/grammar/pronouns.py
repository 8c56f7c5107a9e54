"""Which words of a parsed prompt are pronouns. Small taggers take nouns for some: "bookshelf", "elf"."""

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from spacy.tokens import Token

_PRONOUNS: Final = (
    "i me my mine myself we us our ours ourselves 's you your yours yourself yourselves he him his himself she her hers"
    " herself it its itself they them their theirs themselves one oneself each both all some any either neither none"
    " another other others this that these those who whom whose which what whoever whomever whatever whichever someone"
    " somebody something anyone anybody anything everyone everybody everything nobody nothing there such a an the"
)
PRONOUNS: Final = frozenset(_PRONOUNS.split())
"""All that may pass for a pronoun, articles without a noun among them."""


def is_pronoun(token: "Token") -> bool:
    """Both must say so, tagger and list: "the dimly lit mine" is a noun, and so is "a red bookshelf"."""
    return token.pos_ == "PRON" and token.lower_ in PRONOUNS


def is_noun_taken_for_pronoun(token: "Token") -> bool:
    """Whether the tagger says pronoun and means a noun."""
    return token.pos_ == "PRON" and token.lower_ not in PRONOUNS
