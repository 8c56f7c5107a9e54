"""Captions of scenes: clean ones that say everything, and web-like ones that skip much of it and mix up some."""

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from comat_core.support.randomness import derive_seed
from data.miniature_world.scenes import Scene, SceneObject
from data.miniature_world.vocabulary import INVERSE_RELATION, PLAIN, WARM_COLOURS

NAMED_RELATION_SHARE: Final = 0.5
COPULA_SHARE: Final = 0.1


@dataclass(frozen=True)
class Carelessness:
    """How often a web-like caption goes wrong, each in [0, 1]."""

    skipped_colour: float = 0.4
    """Of the objects: those told without their colour."""
    skipped_texture: float = 0.5
    """Of the textured objects: those told as plain ones."""
    skipped_object: float = 0.2
    """Of the captions of two objects: those that tell one of them."""
    mixed_up_colours: float = 0.0
    """Of the captions of two objects: those that tell the two colours the wrong way round."""
    mixed_up_warm_and_cold: float | None = None
    """The same of those of a warm and a cold colour; None: as often as of all others."""
    mixed_up_places: float = 0.0
    """Of the captions that name a place: those that name the opposite one."""


def noun_phrase(shape: str, colour: str | None, texture: str = PLAIN) -> str:
    """Name one object: "a striped red circle"."""
    words = [word for word in (texture if texture != PLAIN else None, colour, shape) if word]
    article = "an" if words[0][0] in "aeiou" else "a"
    return " ".join([article, *words])


def clean_caption(
    scene: Scene, random_source: random.Random, named_relation_share: float = NAMED_RELATION_SHARE
) -> str:
    """Say everything a scene holds; which object comes first and whether the relation is named is drawn."""
    phrases = [_clean_phrase(item, random_source) for item in scene.objects]
    return _joined(scene, phrases, random_source, named_relation_share)


def base_world_caption(scene: Scene, random_source: random.Random, carelessness: Carelessness | None = None) -> str:
    """Caption a scene as the web does: something is skipped often, and sometimes told the wrong way round."""
    care = carelessness or Carelessness()
    objects = scene.objects
    if len(objects) == 2 and random_source.random() < _mixed_up_share(objects, care):
        first, second = objects
        objects = (replace(first, colour=second.colour), replace(second, colour=first.colour))
    phrases = [_careless_phrase(item, random_source, care) for item in objects]
    if len(phrases) == 2 and random_source.random() < care.skipped_object:
        return random_source.choice(phrases)
    if care.mixed_up_places and random_source.random() < care.mixed_up_places:
        phrases = phrases[::-1]  # their order is drawn below: this exchanges who stands where
    return _joined(scene, phrases, random_source)


def base_world_captions(
    scenes: Sequence[Scene], seed: int, carelessness: Carelessness, per_scene: int
) -> list[list[str]]:
    """Caption each scene several times, each from a seed of its own."""
    captions = []
    for index, scene in enumerate(scenes):
        random_source = random.Random(derive_seed(seed, "base world captions", index))
        captions.append([base_world_caption(scene, random_source, carelessness) for _ in range(per_scene)])
    return captions


def _clean_phrase(item: SceneObject, random_source: random.Random) -> str:
    if random_source.random() < COPULA_SHARE:
        return f"{noun_phrase(item.shape, None, item.texture)} that is {item.colour}"
    return noun_phrase(item.shape, item.colour, item.texture)


def _mixed_up_share(objects: Sequence[SceneObject], care: Carelessness) -> float:
    warm_and_cold = len({item.colour in WARM_COLOURS for item in objects}) == 2
    if warm_and_cold and care.mixed_up_warm_and_cold is not None:
        return care.mixed_up_warm_and_cold
    return care.mixed_up_colours


def _careless_phrase(item: SceneObject, random_source: random.Random, care: Carelessness) -> str:
    colour = None if random_source.random() < care.skipped_colour else item.colour
    texture = PLAIN if random_source.random() < care.skipped_texture else item.texture
    return noun_phrase(item.shape, colour, texture)


def _joined(
    scene: Scene,
    phrases: list[str],
    random_source: random.Random,
    named_relation_share: float = NAMED_RELATION_SHARE,
) -> str:
    if scene.relation is None:
        return phrases[0]
    relation = scene.relation
    if random_source.random() < 0.5:
        phrases, relation = phrases[::-1], INVERSE_RELATION[relation]
    joint = relation if random_source.random() < named_relation_share else "and"
    return f"{phrases[0]} {joint} {phrases[1]}"
