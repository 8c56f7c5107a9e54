"""Entities of a prompt: its objects and the attributes that belong to each (the input of attribute concentration)."""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from spacy.language import Language
from spacy.tokens import Doc, Token

from comat_core.noun_filter import NounFilter
from comat_core.noun_phrases import read_noun_phrases
from comat_core.nouns import HYPHENS, is_noun

Span = tuple[int, int]
"""First character and the one after the last, in the prompt as given."""


@dataclass(frozen=True)
class Entity:
    """An object that a prompt names, with its attributes. Texts stand as the prompt spells them."""

    noun: str
    attributes: tuple[str, ...]
    noun_span: Span
    attribute_spans: tuple[Span, ...]
    removed_because: str | None = None
    """Why attribute concentration leaves the entity out; None when it is kept."""


def parse_entities(
    prompts: Iterable[str],
    nlp: Language,
    noun_filter: NounFilter,
    *,
    batch_size: int = 256,
    process_count: int = 1,
) -> Iterator[list[Entity]]:
    """Parse prompts in batches and yield each one's entities, in order of appearance, removed ones included.

    Args:
        nlp: any spaCy pipeline with a tagger, a dependency parser and a lemmatizer.
        noun_filter: the word lists that decide which nouns become entities.
        process_count: worker processes of the parser.
    """
    texts = ((parser_text(prompt), prompt) for prompt in prompts)
    for doc, prompt in nlp.pipe(texts, as_tuples=True, batch_size=batch_size, n_process=process_count):
        yield entities_of(doc, noun_filter, prompt)


def parser_text(prompt: str) -> str:
    """What the parser gets to see: prompts in capitals go in lower case, since taggers take capitals for names.

    No character moves, so that spans hold for the prompt as given.
    """
    words = [word for word in prompt.split() if word[0].isalpha()]
    capitals = sum(word[0].isupper() for word in words)
    lowered = prompt.lower()
    return lowered if len(words) > 1 and 2 * capitals > len(words) and len(lowered) == len(prompt) else prompt


def entities_of(doc: Doc, noun_filter: NounFilter, prompt: str) -> list[Entity]:
    """Read the entities of one parsed prompt."""
    phrases = read_noun_phrases(doc, noun_filter)
    names = Counter(noun_name(phrase.noun) for phrase in phrases)
    entities = []
    for phrase in phrases:
        name = noun_name(phrase.noun)
        reason = noun_filter.reason_to_remove(name, before_of=_before_of(phrase.noun))
        if reason is None and names[name] > 1:
            reason = f"repeated: {names[name]} nouns are named {name}"
        noun_span = word_span(phrase.noun)
        spans = sorted({word_span(token) for token in phrase.attributes} - {noun_span})
        entities.append(
            Entity(
                noun=prompt[slice(*noun_span)],
                attributes=tuple(prompt[slice(*span)] for span in spans),
                noun_span=noun_span,
                attribute_spans=tuple(spans),
                removed_because=reason,
            )
        )
    return entities


def noun_name(token: Token) -> str:
    """What two mentions of the same kind of object share: the lemma in lower case, with the word's hyphenated front."""
    start, _ = word_span(token)
    lemma = token.lemma_ if is_noun(token) else token.text
    return (token.doc.text[start : token.idx] + lemma).lower()


def word_span(token: Token) -> Span:
    """The characters of a word; parts joined by hyphens ("T-shirt", "long-haired") are one word."""
    doc, first, last = token.doc, token.i, token.i
    while (
        first >= 2 and doc[first - 1].text in HYPHENS and not (doc[first - 1].whitespace_ or doc[first - 2].whitespace_)
    ):
        first -= 2
    while (
        last + 2 < len(doc)
        and doc[last + 1].text in HYPHENS
        and not (doc[last].whitespace_ or doc[last + 1].whitespace_)
    ):
        last += 2
    return doc[first].idx, doc[last].idx + len(doc[last])


def _before_of(token: Token) -> bool:
    return token.i + 1 < len(token.doc) and token.nbor().lower_ == "of"
