"""Captions of scenes: clean ones that say everything, and web-like ones that skip much of it."""

import random
from dataclasses import replace
from typing import Final

from data.miniature_world.scenes import Scene, SceneObject
from data.miniature_world.vocabulary import INVERSE_RELATION, PLAIN

SKIPPED_COLOUR_SHARE: Final = 0.4
SKIPPED_TEXTURE_SHARE: Final = 0.5
SKIPPED_OBJECT_SHARE: Final = 0.2
NAMED_RELATION_SHARE: Final = 0.5
COPULA_SHARE: Final = 0.1


def noun_phrase(shape: str, colour: str | None, texture: str = PLAIN) -> str:
    """Name one object: "a striped red circle"."""
    words = [word for word in (texture if texture != PLAIN else None, colour, shape) if word]
    article = "an" if words[0][0] in "aeiou" else "a"
    return " ".join([article, *words])


def clean_caption(scene: Scene, random_source: random.Random) -> str:
    """Say everything a scene holds; which object comes first and whether the relation is named is drawn."""
    return _joined(scene, [_clean_phrase(item, random_source) for item in scene.objects], random_source)


def base_world_caption(scene: Scene, random_source: random.Random, mixed_up_share: float = 0.0) -> str:
    """Caption a scene as the web does: colours and textures are skipped often, an object sometimes.

    Args:
        mixed_up_share: how often the colours of two objects are told the wrong way round, in [0, 1].
    """
    objects = scene.objects
    if len(objects) == 2 and random_source.random() < mixed_up_share:
        first, second = objects
        objects = (replace(first, colour=second.colour), replace(second, colour=first.colour))
    phrases = [_careless_phrase(item, random_source) for item in objects]
    if len(phrases) == 2 and random_source.random() < SKIPPED_OBJECT_SHARE:
        return random_source.choice(phrases)
    return _joined(scene, phrases, random_source)


def _clean_phrase(item: SceneObject, random_source: random.Random) -> str:
    if random_source.random() < COPULA_SHARE:
        return f"{noun_phrase(item.shape, None, item.texture)} that is {item.colour}"
    return noun_phrase(item.shape, item.colour, item.texture)


def _careless_phrase(item: SceneObject, random_source: random.Random) -> str:
    colour = None if random_source.random() < SKIPPED_COLOUR_SHARE else item.colour
    texture = PLAIN if random_source.random() < SKIPPED_TEXTURE_SHARE else item.texture
    return noun_phrase(item.shape, colour, texture)


def _joined(scene: Scene, phrases: list[str], random_source: random.Random) -> str:
    if scene.relation is None:
        return phrases[0]
    relation = scene.relation
    if random_source.random() < 0.5:
        phrases, relation = phrases[::-1], INVERSE_RELATION[relation]
    joint = relation if random_source.random() < NAMED_RELATION_SHARE else "and"
    return f"{phrases[0]} {joint} {phrases[1]}"
