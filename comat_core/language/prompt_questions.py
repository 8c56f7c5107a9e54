"""A prompt taken apart into yes-no questions, each about one thing that it says, as a tree (DSG's idea).

A question counts only where its parents hold: whether a circle is red can be asked of an image that has one.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Literal, get_args

from spacy.tokens import Doc

from comat_core.language.grammar.noun_phrases import NounPhrase, read_noun_phrases
from comat_core.language.grammar.number_words import counted_words
from comat_core.language.noun_filter import NounFilter
from comat_core.language.spatial_prompts import read_relation

VOWELS = frozenset("aeiou")
QuestionKind = Literal["object", "attribute", "number", "relation"]
KINDS: Final[tuple[QuestionKind, ...]] = get_args(QuestionKind)


@dataclass(frozen=True, slots=True)
class PromptQuestion:
    """A question whose right answer is yes, worded as T2I-CompBench asks BLIP: a phrase and a question mark."""

    text: str
    kind: QuestionKind
    parents: tuple[int, ...] = ()
    """Places, in the prompt's list, of the questions that must be answered yes for this one to count."""


def prompt_questions(doc: Doc, words: NounFilter) -> list[PromptQuestion]:
    """Take a parsed prompt apart: its objects first, then each attribute and number of one, then the place relation.

    Nouns that the noun filter removes (parts of the image, abstract things) are not asked about.
    """
    phrases = [
        phrase for phrase in read_noun_phrases(doc, words) if words.reason_to_remove(phrase.noun.lemma_.lower()) is None
    ]
    questions = [PromptQuestion(_asked(phrase, phrase.noun.text), "object") for phrase in phrases]
    for place, phrase in enumerate(phrases):
        questions += [
            PromptQuestion(_asked(phrase, f"{attribute.text} {phrase.noun.text}"), "attribute", (place,))
            for attribute in phrase.attributes
            if attribute.dep_ != "compound" or attribute.lower_ in words.attribute_words
        ]
    return [*questions, *_numbers(doc, phrases), *_relation(doc, phrases)]


def _numbers(doc: Doc, phrases: Sequence[NounPhrase]) -> Iterator[PromptQuestion]:
    """Of each number above one, whether there are so many."""
    places = {phrase.noun.i: place for place, phrase in enumerate(phrases)}
    for value, counted in counted_words(doc):
        place = next((places[token.i] for token in counted if token.i in places), None)
        if value > 1 and place is not None:
            yield PromptQuestion(f"{value} {phrases[place].noun.text.lower()}?", "number", (place,))


def _relation(doc: Doc, phrases: Sequence[NounPhrase]) -> Iterator[PromptQuestion]:
    relation = read_relation(doc)
    if relation is None or relation.locality is None:
        return
    names = [phrase.noun.lower_ for phrase in phrases]
    if all(noun in names for noun in relation.nouns):
        first, second = (names.index(noun) for noun in relation.nouns)
        asked = f"{_with_article(phrases[first])} {relation.locality} {_with_article(phrases[second])}?"
        yield PromptQuestion(asked, "relation", (first, second))


def _asked(phrase: NounPhrase, words: str) -> str:
    return f"{_with_article(phrase, words)}?"


def _with_article(phrase: NounPhrase, words: str | None = None) -> str:
    words = (words or phrase.noun.text).lower()
    if "Plur" in phrase.noun.morph.get("Number", []):
        return words
    return f"{'an' if words[0] in VOWELS else 'a'} {words}"
