"""Wrong prompts that differ from a prompt in one respect: what a model must tell apart to teach it.

Attributes swapped between objects, subject and object exchanged, singular and plural exchanged.
"""

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import TypedDict

from spacy.tokens import Doc, Token

from comat_core.language.grammar.grammatical_number import change_number
from comat_core.language.grammar.noun_phrases import NounPhrase, read_noun_phrases
from comat_core.language.noun_filter import NounFilter

Span = tuple[int, int]

VOWELS = frozenset("aeiou")


class Corruptions(TypedDict):
    """One wrong prompt per respect; None where the prompt holds nothing to corrupt."""

    attribute: str | None
    relation: str | None
    quantity: str | None


def corruptions(doc: Doc, words: NounFilter) -> Corruptions:
    """Make the three corrupted prompts of a parsed prompt.

    - attribute: the descriptions in front of the first two differently described nouns are swapped;
    - relation: the subject and the object of the first verb or preposition that relates two nouns are swapped;
    - quantity: every object changes from singular to plural or back.
    """
    phrases = [
        phrase for phrase in read_noun_phrases(doc, words) if words.reason_to_remove(phrase.noun.lemma_.lower()) is None
    ]
    return {
        "attribute": _swap_attributes(doc, phrases, words),
        "relation": _swap_subject_and_object(doc, phrases),
        "quantity": change_number(doc, [phrase.noun for phrase in phrases]),
    }


def _swap_attributes(doc: Doc, phrases: Sequence[NounPhrase], words: NounFilter) -> str | None:
    described = [span for phrase in phrases if (span := _description(phrase, words)) is not None]
    for index, first in enumerate(described):
        for second in described[index + 1 :]:
            if first[1] <= second[0] and _text(doc, first).lower() != _text(doc, second).lower():
                return _swap(doc, first, second)
    return None


def _description(phrase: NounPhrase, words: NounFilter) -> Span | None:
    """The characters from the first attribute in front of the noun to the last one; compounds stay with their noun."""
    own = [token for token in phrase.attributes if token.dep_ != "compound" or token.lower_ in words.attribute_words]
    front = [token for token in own if token.i < phrase.noun.i]
    front = front or [token for token in phrase.attributes if token.i > phrase.noun.i]
    if not front:
        return None
    return front[0].idx, front[-1].idx + len(front[-1])


def _swap_subject_and_object(doc: Doc, phrases: Sequence[NounPhrase]) -> str | None:
    by_position = {phrase.noun.i: phrase for phrase in phrases}
    for phrase in phrases:
        for other in _objects_of(phrase.noun):
            if other.i in by_position and other.i > phrase.noun.i:
                first, second = _noun_phrase_span(phrase), _noun_phrase_span(by_position[other.i])
                if first[1] <= second[0] and _text(doc, first).lower() != _text(doc, second).lower():
                    return _swap(doc, first, second)
    return None


def _objects_of(noun: Token) -> Iterator[Token]:
    """Nouns that a preposition of the noun, or the verb that the noun is the subject of, relates it to."""
    waiting = [child for child in noun.children if child.dep_ in ("prep", "acl", "relcl", "advmod")]
    if noun.dep_ in ("nsubj", "nsubjpass"):
        waiting.append(noun.head)
    seen: set[int] = set()
    while waiting:
        token = waiting.pop(0)
        if token.i in seen:
            continue
        seen.add(token.i)
        for child in token.children:
            if child.dep_ in ("pobj", "dobj") and child != noun:
                yield child
                waiting.extend(grandchild for grandchild in child.children if grandchild.dep_ == "prep")
            elif child.dep_ in ("prep", "agent", "advmod", "prt", "acomp", "xcomp", "ccomp"):
                waiting.append(child)


def _noun_phrase_span(phrase: NounPhrase) -> Span:
    """Determiner, words in front and the noun itself; what follows the noun stays where it is."""
    front = [
        child for child in phrase.noun.children if child.dep_ in ("det", "nummod", "poss") and child.i < phrase.noun.i
    ]
    first = min(
        [*front, *(token for token in phrase.attributes if token.i < phrase.noun.i), phrase.noun], key=lambda t: t.i
    )
    return first.idx, phrase.noun.idx + len(phrase.noun)


def _text(doc: Doc, span: Span) -> str:
    return doc.text[slice(*span)]


def _swap(doc: Doc, first: Span, second: Span) -> str:
    """Exchange two stretches of the prompt; a capital at its beginning and its use of "a" and "an" are kept."""
    text = doc.text
    parts = [text[: first[0]], _text(doc, second), text[first[1] : second[0]], _text(doc, first), text[second[1] :]]
    if first[0] == 0 and text[:1].isupper() and not parts[1][:1].isupper():
        parts[1] = parts[1][:1].upper() + parts[1][1:]
        parts[3] = parts[3][:1].lower() + parts[3][1:]
    swapped = "".join(parts)
    return _mend_articles(swapped) if _articles_agree(text) else swapped


def _articles_agree(text: str) -> bool:
    return _mend_articles(text) == text


def _mend_articles(text: str) -> str:
    """Write "an" before vowel letters and "a" before consonants."""
    words = text.split(" ")
    for index, (word, following) in enumerate(pairwise(words)):
        if word.lower() in ("a", "an") and following:
            proper = "an" if following[0].lower() in VOWELS else "a"
            words[index] = proper.capitalize() if word[0].isupper() else proper
    return " ".join(words)
