"""Prompts about the miniature world: training prompts, and held-out ones that combine objects in no way those do."""

import hashlib
import itertools
import random
from collections.abc import Iterator, Sequence
from typing import Final

from comat_core.support.errors import UserError
from comat_core.support.randomness import derive_seed
from data.miniature_world.captions import noun_phrase
from data.miniature_world.vocabulary import COLOURS, PLAIN, RELATIONS, SHAPES, TEXTURES

HELD_OUT_SHARE: Final = 0.25
"""Share of all unordered pairs of colour-shape pairs that training prompts never combine, whatever the relation."""
RELATION_SHARE: Final = 0.35
SAME_NOUN_RELATION_SHARE: Final = 0.5
"""Of the prompts of two objects of one noun: the place is what else tells them apart."""
TEXTURED_SHARE: Final = 0.1

Prompt = tuple[str, str]
"""(text, skill); the skill is "colour", "texture" or "spatial"."""


def training_prompts(seed: int, count: int) -> list[Prompt]:
    """Draw distinct prompts of two objects for training."""
    return _distinct(seed, "training prompts", count, held_out=False)


def held_out_prompts(seed: int, count: int) -> list[Prompt]:
    """Draw distinct prompts whose two colour-shape pairs no training prompt combines, for evaluation."""
    return _distinct(seed, "held-out prompts", count, held_out=True)


def same_noun_training_prompts(seed: int, count: int) -> list[Prompt]:
    """Draw distinct prompts of two objects of one shape for training, "a red circle and a blue circle"."""
    return _distinct_same_noun(seed, "same-noun training prompts", count, held_out=False)


def same_noun_held_out_prompts(seed: int, count: int) -> list[Prompt]:
    """Draw distinct prompts of two objects of one shape, in colours in which no training prompt has two of it."""
    return _distinct_same_noun(seed, "same-noun held-out prompts", count, held_out=True)


def _distinct(seed: int, purpose: str, count: int, *, held_out: bool) -> list[Prompt]:
    return _first_distinct(_stream(random.Random(derive_seed(seed, purpose)), held_out), count)


def _distinct_same_noun(seed: int, purpose: str, count: int, *, held_out: bool) -> list[Prompt]:
    there_are = _number_of_same_noun_prompts(held_out)
    if count > there_are:
        raise UserError(
            f"there are {there_are} such prompts, and not {count}", "prompts of objects of one noun", "lower the count"
        )
    return _first_distinct(_same_noun_stream(random.Random(derive_seed(seed, purpose)), held_out), count)


def _first_distinct(stream: Iterator[Prompt], count: int) -> list[Prompt]:
    prompts: dict[str, str] = {}
    for text, skill in stream:
        prompts.setdefault(text, skill)
        if len(prompts) == count:
            return list(prompts.items())
    raise AssertionError("the stream of prompts never ends")


def _stream(random_source: random.Random, held_out: bool) -> Iterator[Prompt]:
    while True:
        shapes = random_source.sample(SHAPES, 2)
        colours = random_source.choices(tuple(COLOURS), k=2)
        if is_held_out((colours[0], shapes[0]), (colours[1], shapes[1])) == held_out:
            yield _prompt(random_source, shapes, colours)


def _same_noun_stream(random_source: random.Random, held_out: bool) -> Iterator[Prompt]:
    while True:
        shape = random_source.choice(SHAPES)
        colours = random_source.sample(tuple(COLOURS), 2)
        if is_held_out((colours[0], shape), (colours[1], shape)) != held_out:
            continue
        related = random_source.random() < SAME_NOUN_RELATION_SHARE
        joint = random_source.choice(RELATIONS) if related else "and"
        first, second = (noun_phrase(shape, colour) for colour in colours)
        yield f"{first} {joint} {second}", "spatial" if related else "colour"


def _number_of_same_noun_prompts(held_out: bool) -> int:
    """Each combination stands in either order, with "and" and each relation."""
    combinations = [
        (shape, *colours)
        for shape in SHAPES
        for colours in itertools.combinations(COLOURS, 2)
        if is_held_out((colours[0], shape), (colours[1], shape)) == held_out
    ]
    return len(combinations) * 2 * (len(RELATIONS) + 1)


def is_held_out(first: tuple[str, str], second: tuple[str, str]) -> bool:
    """Whether two (colour, shape) pairs are kept apart from training; the order does not matter."""
    combination = "|".join(sorted(" ".join(pair) for pair in (first, second)))
    return int.from_bytes(hashlib.sha256(combination.encode()).digest()[:4], "big") < HELD_OUT_SHARE * 2**32


def _prompt(random_source: random.Random, shapes: Sequence[str], colours: list[str]) -> Prompt:
    textures = [PLAIN, PLAIN]
    if random_source.random() < TEXTURED_SHARE:
        textures[random_source.randrange(2)] = random_source.choice(TEXTURES[1:])
    related = random_source.random() < RELATION_SHARE
    joint = random_source.choice(RELATIONS) if related else "and"
    first, second = map(noun_phrase, shapes, colours, textures)
    skill = "spatial" if related else "colour" if textures == [PLAIN, PLAIN] else "texture"
    return f"{first} {joint} {second}", skill
