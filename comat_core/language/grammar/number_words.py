"""Numbers as prompts write them, and what they count: "a", "twenty-five", "two dozen", "three hundred and ten"."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from spacy.tokens import Doc, Token

from comat_core.language.grammar.grammatical_number import SAME_IN_PLURAL
from comat_core.language.grammar.nouns import HYPHENS

ARTICLES: Final = frozenset({"a", "an"})
_TO_NINETEEN = (
    "one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen"
    " eighteen nineteen"
)
_TENS = "twenty thirty forty fifty sixty seventy eighty ninety"
UNITS: Final = {word: value for value, word in enumerate(_TO_NINETEEN.split(), 1)}
TENS: Final = {word: 10 * value for value, word in enumerate(_TENS.split(), 2)}
SCALES: Final = {"dozen": 12, "hundred": 100, "thousand": 1000, "million": 1_000_000}
DIGITS: Final = re.compile(r"[0-9]{1,3}(,[0-9]{3})+|[0-9]{1,7}")
INDEFINITE: Final = frozenset({"few", "several", "many", "various", "numerous", "countless", "multiple", "couple"})
"""Words that say there are some, and not how many, even behind an article: "a few dogs", "a great many birds"."""
VAGUE_ENDS: Final = frozenset({"or so", "or more", "or less", "or fewer"})
LARGEST: Final = 10**9


@dataclass(frozen=True)
class WrittenNumber:
    """The words of a prompt that make one number.

    Attributes:
        start, end: positions of its first word, and of the word behind its last.
        value: None if the words fix no number: "two or three", "half a", and "three" in "a three-legged dog".
        is_digits: written in digits, as years and ages are, too.
    """

    start: int
    end: int
    value: int | None
    is_digits: bool


def written_numbers(doc: Doc) -> Iterator[WrittenNumber]:
    """Find the numbers of a prompt, in its order; articles count as one."""
    position = 0
    while position < len(doc):
        found = _number_at(doc, position)
        yield from [found] if found is not None else []
        position = position + 1 if found is None else found.end


def counted_words(doc: Doc) -> Iterator[tuple[int, list[Token]]]:
    """Numbers and the words that each may count: the next one, and the head of the noun phrase that it stands in."""
    for number in written_numbers(doc):
        if number.value is not None and number.end < len(doc):
            heads = [doc[number.end], *_heads_behind(doc, number)]
            yield number.value, [head for head in heads if not number.is_digits or _agrees(number.value, head)]


def _heads_behind(doc: Doc, number: WrittenNumber) -> list[Token]:
    """The head of the noun phrase that a number stands in, unless the number counts something else in front of it.

    "a few dogs" are no definite number, and "a 20 year old man" is 20 years old.
    """
    last = number.end - 1
    heads = [chunk.root for chunk in doc.noun_chunks if chunk.start <= number.start and last < chunk.root.i < chunk.end]
    return [
        head
        for head in heads
        if not any(token.lower_ in INDEFINITE for token in doc[number.end : head.i])
        and not (last < doc[last].head.i < head.i and doc[last].head.pos_ == "NOUN")
    ]


def _agrees(number: int, noun: Token) -> bool:
    """Whether the noun's form goes with the number, unlike that of "the 1967 car"."""
    return (number == 1) == (noun.tag_ not in ("NNS", "NNPS")) or noun.lower_ in SAME_IN_PLURAL


def _number_at(doc: Doc, start: int) -> WrittenNumber | None:
    is_half = doc[start].lower_ == "half" and start + 1 < len(doc)
    words, end = _run(doc, start + is_half)
    if not words:
        return None
    value = _value(words)
    if is_half:
        value = value // 2 if value is not None and words[-1] == "dozen" else None
    while (following := _alternative(doc, end)) is not None:
        value, end = None, following
    if end < len(doc) and doc[end].text in HYPHENS:
        value = None  # part of a describing word
    return WrittenNumber(start, end, value, any(DIGITS.fullmatch(word) for word in words))


def _run(doc: Doc, start: int) -> tuple[list[str], int]:
    """The words from `start` on that belong to one number, joints left out, and the position behind them."""
    if start < len(doc) and doc[start].lower_ in ARTICLES:
        if start + 1 == len(doc) or doc[start + 1].lower_ not in SCALES:
            return ["one"], start + 1
        words, position = ["one"], start + 1
    else:
        words, position = [], start
    while position < len(doc):
        joint = bool(words) and position + 1 < len(doc) and _joins(doc, position, words[-1])
        place = position + 1 if joint else position
        if not _is_number(doc[place]):
            break
        words.append(doc[place].lower_)
        position = place + 1
    return words, position


def _joins(doc: Doc, position: int, before: str) -> bool:
    """Whether the word binds two parts of a number: "twenty-five", "three-hundred", "a hundred and ten"."""
    after = doc[position + 1].lower_
    if doc[position].text in HYPHENS:
        return after in SCALES or (before in TENS and UNITS.get(after, 10) < 10)
    return doc[position].lower_ == "and" and before in SCALES and (after in UNITS or after in TENS)


def _alternative(doc: Doc, end: int) -> int | None:
    """Behind "two": where "or three", "or so", "to three" or "-3" ends."""
    if doc[end : end + 2].text.lower() in VAGUE_ENDS:
        return end + 2
    if end + 1 >= len(doc) or not (doc[end].lower_ in ("or", "to") or doc[end].text in HYPHENS):
        return None
    words, behind = _run(doc, end + 1)
    return behind if words and doc[end + 1].lower_ not in ARTICLES else None


def _is_number(token: Token) -> bool:
    word = token.lower_
    return word in UNITS or word in TENS or word in SCALES or DIGITS.fullmatch(word) is not None


def _value(words: Sequence[str]) -> int | None:
    """What the words amount to; None if they are no number together ("two three", "nineteen eighty")."""
    total = current = 0
    room = LARGEST  # what a word that adds to the one before it may be at most
    for word in words:
        if word in SCALES:
            current = max(current, 1) * SCALES[word]
            room = SCALES[word]
            if SCALES[word] >= 1000:
                total, current = total + current, 0
            continue
        number = UNITS.get(word) or TENS.get(word) or int(word.replace(",", ""))
        if number >= room:
            return None
        current += number
        room = 10 if word in TENS else 0
    return total + current if 0 < total + current < LARGEST else None
