"""Reading prompts one by one as they come, each parsed once."""

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import TypeVar

from spacy.language import Language
from spacy.tokens import Doc

from comat_core.language.noun_filter import NounFilter

Found = TypeVar("Found")


def read_once(
    read: Callable[[Doc, NounFilter], Sequence[Found]], nlp: Language, words: NounFilter, *, remembered: int = 100_000
) -> Callable[[str], tuple[Found, ...]]:
    """A function from a prompt to what is read of it: training meets the same prompts in every epoch.

    Args:
        read: from a parsed prompt and the word lists to what is found in it.
        remembered: how many prompts it keeps the findings of.
    """

    @lru_cache(maxsize=remembered)
    def found_in(prompt: str) -> tuple[Found, ...]:
        return tuple(read(nlp(prompt), words))

    return found_in
