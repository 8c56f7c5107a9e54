"""Scenes: which objects stand where. Two statistics are known, a balanced one and that of the web-like base world."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from data.miniature_world.vocabulary import COLOURS, IMAGE_SIZE, PLAIN, RELATIONS, SHAPES, TEXTURES

FAVOURITE_COLOURS: Final[dict[str, tuple[str, str]]] = {
    "circle": ("orange", "red"),
    "square": ("blue", "black"),
    "triangle": ("green", "yellow"),
    "star": ("yellow", "white"),
    "heart": ("red", "purple"),
    "cross": ("white", "green"),
}
FAVOURITE_WEIGHT: Final = 9.0
"""How many times more often a shape wears one of its favourite colours than any other one, in the base world."""

SINGLE_OBJECT_SHARE: Final = 0.25
TEXTURED_SHARE: Final = 0.25
BACKGROUND_RANGE: Final = (150, 200)


@dataclass(frozen=True)
class SceneObject:
    """One object: what it is and where. Centre and radius in pixels, angle in degrees."""

    shape: str
    colour: str
    texture: str
    x: float
    y: float
    radius: float
    angle: float


@dataclass(frozen=True)
class Scene:
    """One or two objects on a plain background. With two, `relation` says how the first stands to the second."""

    objects: tuple[SceneObject, ...]
    background: tuple[int, int, int]
    relation: str | None


def balanced_scene(random_source: random.Random) -> Scene:
    """Draw a scene in which every colour goes with every shape equally often."""
    return _scene(random_source, {shape: [1.0] * len(COLOURS) for shape in SHAPES})


def base_world_scene(random_source: random.Random) -> Scene:
    """Draw a scene of the base world, where most shapes wear one of their favourite colours."""
    weights = {
        shape: [FAVOURITE_WEIGHT if colour in favourites else 1.0 for colour in COLOURS]
        for shape, favourites in FAVOURITE_COLOURS.items()
    }
    return _scene(random_source, weights)


def _scene(random_source: random.Random, colour_weights: dict[str, list[float]]) -> Scene:
    tone = random_source.randint(*BACKGROUND_RANGE)
    red, green, blue = (tone + random_source.randint(-6, 6) for _ in range(3))
    background = (red, green, blue)
    if random_source.random() < SINGLE_OBJECT_SHARE:
        radius = random_source.uniform(10.0, 15.0)
        place = (_coordinate(random_source, radius), _coordinate(random_source, radius))
        objects = (_object(random_source, colour_weights, place, radius),)
        return Scene(objects, background, None)
    relation = random_source.choice(RELATIONS)
    radii = (random_source.uniform(8.5, 12.5), random_source.uniform(8.5, 12.5))
    places = _places(random_source, relation, radii)
    objects = tuple(_object(random_source, colour_weights, *where) for where in zip(places, radii, strict=True))
    return Scene(objects, background, relation)


def _coordinate(random_source: random.Random, radius: float, low: float = 0.0, high: float = IMAGE_SIZE) -> float:
    return random_source.uniform(low + radius + 2, high - radius - 2)


def _places(
    random_source: random.Random, relation: str, radii: Sequence[float]
) -> tuple[tuple[float, float], tuple[float, float]]:
    """Put two objects on either side of the middle, apart along the relation's axis and close along the other."""
    middle = IMAGE_SIZE / 2
    first, second = radii
    along_first = _coordinate(random_source, first, 0.0, middle + 1)
    along_second = _coordinate(random_source, second, middle - 1, IMAGE_SIZE)
    across_first = _coordinate(random_source, first, 8.0, IMAGE_SIZE - 8.0)
    across_second = across_first + random_source.uniform(-7.0, 7.0)
    across_second = min(max(across_second, second + 2), IMAGE_SIZE - second - 2)
    if relation in ("to the right of", "below"):
        along_first, along_second = IMAGE_SIZE - along_first, IMAGE_SIZE - along_second
    if relation in ("to the left of", "to the right of"):
        return (along_first, across_first), (along_second, across_second)
    return (across_first, along_first), (across_second, along_second)


def _object(
    random_source: random.Random,
    colour_weights: dict[str, list[float]],
    place: tuple[float, float],
    radius: float,
) -> SceneObject:
    shape = random_source.choice(SHAPES)
    colour = random_source.choices(tuple(COLOURS), colour_weights[shape])[0]
    textured = random_source.random() < TEXTURED_SHARE
    texture = random_source.choice(TEXTURES[1:]) if textured else PLAIN
    return SceneObject(shape, colour, texture, place[0], place[1], radius, random_source.uniform(-14.0, 14.0))
