"""The words of the miniature world and what each looks like."""

from typing import Final

SHAPES: Final = ("circle", "square", "triangle", "star", "heart", "cross")

COLOURS: Final[dict[str, tuple[int, int, int]]] = {
    "red": (214, 36, 36),
    "orange": (246, 134, 24),
    "yellow": (244, 222, 42),
    "green": (36, 152, 60),
    "blue": (38, 78, 220),
    "purple": (140, 44, 176),
    "black": (22, 22, 22),
    "white": (252, 252, 252),
}

WARM_COLOURS: Final = frozenset(("red", "orange", "yellow", "white"))

PLAIN: Final = "plain"
TEXTURES: Final = (PLAIN, "striped", "dotted")

RELATIONS: Final = ("to the left of", "to the right of", "above", "below")
INVERSE_RELATION: Final = {
    "to the left of": "to the right of",
    "to the right of": "to the left of",
    "above": "below",
    "below": "above",
}

IMAGE_SIZE: Final = 64
"""Side of a scene's image in pixels."""


def colour_shape_pairs() -> tuple[tuple[str, str], ...]:
    """List all (colour, shape) pairs in the order of the judge's classes."""
    return tuple((colour, shape) for colour in COLOURS for shape in SHAPES)
