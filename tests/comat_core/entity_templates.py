"""Prompts whose entities are known by construction: templates filled with words, gold entities beside the text.

Nothing here looks at a parse: the gold is what the template's author means by the sentence.
"""

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from tests.comat_core.entity_words import (
    ANIMALS,
    BACKGROUNDS,
    COLOURS,
    COMPOUNDS,
    CONTAINERS,
    DEGREES,
    HYPHENATED,
    LOOKS,
    MATERIALS,
    OBJECTS,
    POSTURES,
    RELATIONS,
    SHAPES,
    SIZES,
)

Gold = dict[str, frozenset[str]]
"""Kept noun as written, lower-cased -> its attributes as written."""


@dataclass(frozen=True)
class GoldPrompt:
    text: str
    gold: Gold
    template: str


class Words:
    """Draws words without giving the same noun twice in one prompt."""

    def __init__(self, generator: random.Random) -> None:
        self.generator = generator
        self.used: set[str] = set()

    def noun(self, plural: bool = False, among: tuple[tuple[str, str], ...] | None = None) -> str:
        pool = [pair for pair in (among or OBJECTS + ANIMALS + SHAPES) if pair[0] not in self.used]
        pair = self.generator.choice(pool)
        self.used.add(pair[0])
        return pair[plural]

    def plural(self) -> str:
        return self.noun(plural=True, among=OBJECTS + ANIMALS)

    def animal(self) -> str:
        return self.noun(among=ANIMALS)

    def compound(self) -> tuple[str, str]:
        first, head = self.generator.choice([pair for pair in COMPOUNDS if pair[1] not in self.used])
        self.used.update((first, head))
        return first, head

    def attribute(self, *pools: tuple[str, ...]) -> str:
        pool = [word for words in (pools or (COLOURS, LOOKS, SIZES)) for word in words if word not in self.used]
        word = self.generator.choice(pool)
        self.used.add(word)
        return word

    def one_of(self, words: tuple[str, ...]) -> str:
        return self.generator.choice(words)


def article(word: str) -> str:
    return ("an " if word[0] in "aeiou" else "a ") + word


def gold(*entities: tuple[str, ...]) -> Gold:
    return {noun: frozenset(attributes) for noun, *attributes in entities}


def conjunction(w: Words) -> tuple[str, Gold]:
    a, n, b, m = w.attribute(), w.noun(), w.attribute(), w.noun()
    return f"{article(a)} {n} and {article(b)} {m}", gold((n, a), (m, b))


def three_objects(w: Words) -> tuple[str, Gold]:
    a, n, b, m, c, k = w.attribute(), w.noun(), w.attribute(), w.noun(), w.attribute(), w.noun()
    return f"{article(a)} {n}, {article(b)} {m}, and {article(c)} {k}", gold((n, a), (m, b), (k, c))


def several_attributes(w: Words) -> tuple[str, Gold]:
    s, a, n, t, b, m = (
        w.attribute(SIZES),
        w.attribute(COLOURS),
        w.noun(),
        w.attribute(LOOKS),
        w.attribute(COLOURS),
        w.noun(),
    )
    return f"{article(s)} {a} {n} {w.one_of(RELATIONS)} {article(t)} {b} {m}", gold((n, s, a), (m, t, b))


def colour_before_texture(w: Words) -> tuple[str, Gold]:
    a, t, n, b, m = w.attribute(COLOURS), w.attribute(LOOKS), w.noun(), w.attribute(), w.noun()
    return f"{article(a)} {t} {n} and {article(b)} {m}", gold((n, a, t), (m, b))


def material(w: Words) -> tuple[str, Gold]:
    a, t, n, b, m = (
        w.attribute(COLOURS),
        w.attribute(MATERIALS),
        w.noun(among=OBJECTS),
        w.attribute(MATERIALS),
        w.noun(among=OBJECTS),
    )
    return f"{article(a)} {t} {n} {w.one_of(RELATIONS)} {article(b)} {m}", gold((n, a, t), (m, b))


def copula(w: Words) -> tuple[str, Gold]:
    n, a, m, b = w.noun(), w.attribute(), w.noun(), w.attribute()
    return f"the {n} is {a} and the {m} is {b}", gold((n, a), (m, b))


def copula_of_two_adjectives(w: Words) -> tuple[str, Gold]:
    n, a, b, m = w.noun(), w.attribute(COLOURS), w.attribute(LOOKS), w.noun()
    return f"The {n} near the {m} is {a} and {b}.", gold((n, a, b), (m,))


def copula_of_two_subjects(w: Words) -> tuple[str, Gold]:
    n, m, a = w.noun(), w.noun(), w.attribute(COLOURS)
    return f"The {n} and the {m} are {a}.", gold((n, a), (m, a))


def relative_clause(w: Words) -> tuple[str, Gold]:
    n, a, m, b = w.noun(), w.attribute(), w.noun(), w.attribute()
    return f"{article(n)} that is {a} and {article(b)} {m}", gold((n, a), (m, b))


def second_relative_clause(w: Words) -> tuple[str, Gold]:
    a, n, m, b = w.attribute(), w.noun(), w.noun(), w.attribute(COLOURS)
    return f"{article(a)} {n} {w.one_of(RELATIONS)} {article(m)} which is {b}", gold((n, a), (m, b))


def plural_relative_clause(w: Words) -> tuple[str, Gold]:
    n, a, b = w.plural(), w.attribute(COLOURS), w.attribute(LOOKS)
    return f"two {n} that are {a} and {b}", gold((n, a, b))


def conjoined_adjectives(w: Words) -> tuple[str, Gold]:
    a, b, n, c, m = w.attribute(COLOURS), w.attribute(COLOURS), w.noun(), w.attribute(), w.noun()
    return f"{article(a)} and {b} {n} {w.one_of(RELATIONS)} {article(c)} {m}", gold((n, a, b), (m, c))


def comma_adjectives(w: Words) -> tuple[str, Gold]:
    s, t, a, n = w.attribute(SIZES), w.attribute(LOOKS), w.attribute(COLOURS), w.noun()
    return f"{article(s)}, {t}, {a} {n}", gold((n, s, t, a))


def compound_noun(w: Words) -> tuple[str, Gold]:
    a, (first, head), b, m = w.attribute(COLOURS), w.compound(), w.attribute(), w.noun()
    return f"{article(a)} {first} {head} and {article(b)} {m}", gold((head, a, first), (m, b))


def compound_noun_second(w: Words) -> tuple[str, Gold]:
    a, n, b, (first, head) = w.attribute(), w.noun(), w.attribute(COLOURS), w.compound()
    return f"{article(a)} {n} {w.one_of(RELATIONS)} {article(b)} {first} {head}", gold((n, a), (head, b, first))


def plurals(w: Words) -> tuple[str, Gold]:
    a, n, b, m = w.attribute(), w.plural(), w.attribute(), w.plural()
    return f"two {a} {n} and three {b} {m}", gold((n, a), (m, b))


def bare_plurals(w: Words) -> tuple[str, Gold]:
    a, n, b, m = w.attribute(), w.plural(), w.attribute(), w.noun()
    return f"{a} {n} {w.one_of(RELATIONS)} {article(b)} {m}", gold((n, a), (m, b))


def shared_attribute(w: Words) -> tuple[str, Gold]:
    a, n, m = w.attribute(COLOURS), w.noun(among=OBJECTS), w.noun(among=OBJECTS)
    return f"{article(a)} {n} and {m}", gold((n, a), (m, a))


def posture(w: Words) -> tuple[str, Gold]:
    a, n, b, m = w.attribute(), w.animal(), w.attribute(), w.noun(among=OBJECTS)
    return f"{article(a)} {n} {w.one_of(POSTURES)} {article(b)} {m}", gold((n, a), (m, b))


def sentence(w: Words) -> tuple[str, Gold]:
    a, n, b, m = w.attribute(), w.animal(), w.attribute(), w.noun(among=OBJECTS)
    return f"The {a} {n} is {w.one_of(POSTURES)} the {b} {m}.", gold((n, a), (m, b))


def background(w: Words) -> tuple[str, Gold]:
    a, n, b, m = w.attribute(), w.noun(), w.attribute(), w.noun()
    return f"{article(a)} {n} and {article(b)} {m} {w.one_of(BACKGROUNDS)}", gold((n, a), (m, b))


def container(w: Words) -> tuple[str, Gold]:
    a, n, m = w.attribute(), w.noun(), w.noun()
    return f"{w.one_of(CONTAINERS)} {article(a)} {n} and {article(m)}", gold((n, a), (m,))


def degree(w: Words) -> tuple[str, Gold]:
    a, n, b, m = w.attribute(LOOKS, SIZES), w.noun(), w.attribute(), w.noun()
    return f"a {w.one_of(DEGREES)} {a} {n} and {article(b)} {m}", gold((n, a), (m, b))


def shaded_colour(w: Words) -> tuple[str, Gold]:
    shade, n, b, m = w.one_of(("light", "dark", "bright", "pale")), w.noun(), w.attribute(SIZES), w.noun()
    return f"a {shade} blue {n} {w.one_of(RELATIONS)} {article(b)} {m}", gold((n, shade, "blue"), (m, b))


def hyphenated(w: Words) -> tuple[str, Gold]:
    a, n, b, m = w.one_of(HYPHENATED), w.noun(), w.attribute(), w.noun()
    return f"{article(a)} {n} and {article(b)} {m}", gold((n, a), (m, b))


def bare_nouns(w: Words) -> tuple[str, Gold]:
    n, m = w.noun(), w.noun()
    return f"{article(n)} {w.one_of(RELATIONS)} {article(m)}", gold((n,), (m,))


def repeated(w: Words) -> tuple[str, Gold]:
    a, n, b, c, m = w.attribute(COLOURS), w.noun(), w.attribute(COLOURS), w.attribute(), w.noun()
    return f"{article(a)} {n}, {article(b)} {n} and {article(c)} {m}", gold((m, c))


def capitals(w: Words) -> tuple[str, Gold]:
    a, n, b, m = w.attribute(COLOURS, LOOKS), w.noun(), w.attribute(COLOURS, LOOKS), w.noun()
    return f"{article(a)} {n} {w.one_of(RELATIONS)} {article(b)} {m}".capitalize() + ".", gold((n, a), (m, b))


TEMPLATES: tuple[Callable[[Words], tuple[str, Gold]], ...] = (
    conjunction,
    three_objects,
    several_attributes,
    colour_before_texture,
    material,
    copula,
    copula_of_two_adjectives,
    copula_of_two_subjects,
    relative_clause,
    second_relative_clause,
    plural_relative_clause,
    conjoined_adjectives,
    comma_adjectives,
    compound_noun,
    compound_noun_second,
    plurals,
    bare_plurals,
    shared_attribute,
    posture,
    sentence,
    background,
    container,
    degree,
    shaded_colour,
    hyphenated,
    bare_nouns,
    repeated,
    capitals,
)


def gold_prompts(seed: int, count: int) -> Iterator[GoldPrompt]:
    """Yield `count` prompts, the templates in turn."""
    generator = random.Random(seed)
    for index in range(count):
        template = TEMPLATES[index % len(TEMPLATES)]
        text, entities = template(Words(generator))
        yield GoldPrompt(text, entities, template.__name__)


def two_object_gold(seed: int, count: int) -> Iterator[GoldPrompt]:
    """Prompts of the form "a <colour> <noun> and a <colour> <noun>", as T2I-CompBench's colour category has them."""
    generator = random.Random(seed)
    for _ in range(count):
        words = Words(generator)
        a, n, b, m = words.attribute(COLOURS), words.noun(), words.attribute(COLOURS), words.noun()
        yield GoldPrompt(f"a {a} {n} and a {b} {m}", gold((n, a), (m, b)), "two objects")
