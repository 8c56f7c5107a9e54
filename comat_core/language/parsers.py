"""Loading spaCy pipelines, and running them over streams."""

from collections.abc import Iterable, Iterator
from contextlib import nullcontext
from itertools import islice
from typing import TypeVar
from weakref import WeakKeyDictionary

import spacy
from spacy.language import Language
from spacy.pipeline import Lemmatizer
from spacy.tokens import Doc

from comat_core.language.parser_identity import not_installed
from comat_core.support.errors import UserError

UNUSED_COMPONENTS = ["ner", "entity_linker", "senter", "textcat"]
TEXTS_PER_BLOCK = 32_768
Context = TypeVar("Context")
NEEDED_COMPONENTS = ("tagger", "parser", "lemmatizer")

_texts_remembered: WeakKeyDictionary[Language, int] = WeakKeyDictionary()
"""How many texts each pipeline parsed without forgetting their words."""


def load_parser(name: str) -> Language:
    """Load an installed spaCy pipeline without the parts that entities do not need.

    Raises:
        UserError: it is not installed, or has no tagger, dependency parser or lemmatizer.
    """
    try:
        nlp = spacy.load(name, exclude=UNUSED_COMPONENTS)
    except OSError as error:
        raise not_installed(name) from error
    missing = [component for component in NEEDED_COMPONENTS if component not in nlp.pipe_names]
    if missing:
        raise UserError(f"the spaCy pipeline has no {missing[0]}", name, "use a pipeline such as en_core_web_sm")
    return nlp


def parse_in_blocks(
    nlp: Language, texts: Iterable[tuple[str, Context]], *, batch_size: int
) -> Iterator[tuple[Doc, Context]]:
    """Parse a stream of (text, context) pairs of any length; yields (document, context) in the same order.

    A pipeline remembers every word it meets. Here it remembers those of its first block, which makes it faster, and
    forgets the new ones after each later block, so that memory does not grow with what it is given, in one call or in
    many. A document must not be used after the next one was asked for.
    """
    waiting = iter(texts)
    while block := list(islice(waiting, TEXTS_PER_BLOCK)):
        remembered = _texts_remembered.get(nlp, 0)
        forgets = remembered >= TEXTS_PER_BLOCK
        with nlp.memory_zone() if forgets else nullcontext():
            yield from nlp.pipe(block, as_tuples=True, batch_size=batch_size)
        if not forgets:
            _texts_remembered[nlp] = remembered + len(block)
        for _, component in nlp.pipeline:
            if isinstance(component, Lemmatizer):
                component.cache.clear()
