"""Entities of a prompt: its objects and the attributes that belong to each (the input of attribute concentration)."""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from spacy.language import Language
from spacy.tokens import Doc, Token

from comat_core.language.grammar.grammatical_number import is_plural
from comat_core.language.grammar.noun_phrases import NounPhrase, read_noun_phrases
from comat_core.language.grammar.nouns import HYPHENS, is_noun
from comat_core.language.noun_filter import NounFilter
from comat_core.language.parsers import parse_in_blocks

WORD = re.compile(r"\S+")
Span = tuple[int, int]
"""First character and the one after the last, in the prompt as given."""


@dataclass(frozen=True, slots=True)
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
    keep_same_nouns: bool = False,
    batch_size: int = 256,
) -> Iterator[list[Entity]]:
    """Parse prompts in batches and yield each one's entities, in order of appearance, removed ones included.

    Args:
        nlp: any spaCy pipeline with a tagger, a dependency parser and a lemmatizer.
        noun_filter: the word lists that decide which nouns become entities.
        keep_same_nouns: nouns that a prompt names several times stay, see `entities_of`; else they are removed, as in
            the paper.
    """
    shown = ((text.shown, text) for text in map(ParserText.of, prompts))
    for doc, text in parse_in_blocks(nlp, shown, batch_size=batch_size):
        yield entities_of(doc, noun_filter, text, keep_same_nouns=keep_same_nouns)


@dataclass(frozen=True, slots=True)
class ParserText:
    """A prompt, and what the parser gets to see of it.

    White space is collapsed, and prompts in capitals go in lower case, since taggers take capitals for names.
    """

    prompt: str
    shown: str
    origins: tuple[int, ...] | None
    """Place in the prompt of each shown character; None when no character moved."""

    @classmethod
    def of(cls, prompt: str) -> "ParserText":
        """Prepare one prompt."""
        words = [match.span() for match in WORD.finditer(prompt)]
        shown = " ".join(prompt[start:end] for start, end in words)
        starts = [prompt[start] for start, _ in words if prompt[start].isalpha()]
        lowered = shown.lower()
        if len(starts) > 1 and 2 * sum(map(str.isupper, starts)) > len(starts) and len(lowered) == len(shown):
            shown, unlowered = lowered, shown
        else:
            unlowered = shown
        if unlowered == prompt:
            return cls(prompt, shown, None)
        return cls(prompt, shown, tuple(place for start, end in words for place in range(start, end + 1))[:-1])

    def span_in_prompt(self, shown_span: Span) -> Span:
        """Translate a span of what was shown to the prompt."""
        if self.origins is None:
            return shown_span
        start, end = shown_span
        return self.origins[start], self.origins[end - 1] + 1


def entities_of(doc: Doc, noun_filter: NounFilter, text: ParserText, *, keep_same_nouns: bool = False) -> list[Entity]:
    """Read the entities of one parsed prompt.

    Args:
        keep_same_nouns: keep "a red circle and a blue circle" as two entities with the attributes of each. Not if one
            of them is a plural: how many objects are whose is not known then.
    """
    phrases = read_noun_phrases(doc, noun_filter)
    names = [noun_name(phrase.noun) for phrase in phrases]
    mentions = Counter(names)
    one_each = _names_of_one_object_each(phrases, names) if keep_same_nouns else frozenset()
    entities = []
    for phrase, name in zip(phrases, names, strict=True):
        reason = noun_filter.reason_to_remove(name, before_of=_before_of(phrase.noun))
        if reason is None and mentions[name] > 1 and name not in one_each:
            reason = f"repeated: {mentions[name]} nouns are named {name}"
        noun = word_span(phrase.noun)
        attributes = sorted({word_span(token) for token in phrase.attributes} - {noun})
        noun_span, *attribute_spans = map(text.span_in_prompt, (noun, *attributes))
        entities.append(
            Entity(
                noun=text.prompt[slice(*noun_span)],
                attributes=tuple(text.prompt[slice(*span)] for span in attribute_spans),
                noun_span=noun_span,
                attribute_spans=tuple(attribute_spans),
                removed_because=reason,
            )
        )
    return entities


def _names_of_one_object_each(phrases: Sequence[NounPhrase], names: Sequence[str]) -> frozenset[str]:
    """The names whose every mention is spelled alike and is of a single object."""
    spellings: dict[str, set[str]] = {}
    for phrase, name in zip(phrases, names, strict=True):
        spellings.setdefault(name, set()).add(phrase.noun.lower_)
    plurals = {name for phrase, name in zip(phrases, names, strict=True) if is_plural(phrase.noun)}
    return frozenset(name for name, spelled in spellings.items() if len(spelled) == 1) - plurals


def noun_name(token: Token) -> str:
    """What two mentions of the same kind of object share: the lemma in lower case, with the word's hyphenated front."""
    lemma = token.lemma_ if is_noun(token) else token.text
    first = _first_part(token)
    front = token.doc[first : token.i].text if first < token.i else ""
    return (front + lemma).lower()


def word_span(token: Token) -> Span:
    """The characters of a word; parts joined by hyphens ("T-shirt", "long-haired") are one word."""
    doc, last = token.doc, token.i
    while (
        last + 2 < len(doc)
        and doc[last + 1].text in HYPHENS
        and not (doc[last].whitespace_ or doc[last + 1].whitespace_)
    ):
        last += 2
    return doc[_first_part(token)].idx, doc[last].idx + len(doc[last])


def _first_part(token: Token) -> int:
    """Place of the word's first part; that of the token itself where no hyphen stands before it."""
    doc, first = token.doc, token.i
    while (
        first >= 2 and doc[first - 1].text in HYPHENS and not (doc[first - 1].whitespace_ or doc[first - 2].whitespace_)
    ):
        first -= 2
    return first


def _before_of(token: Token) -> bool:
    return token.i + 1 < len(token.doc) and token.nbor().lower_ == "of"
