"""Drawing of scenes and of the masks of their objects."""

import math
from typing import Final

import numpy as np
from PIL import Image, ImageChops, ImageDraw

from data.miniature_world.scenes import Scene, SceneObject
from data.miniature_world.vocabulary import COLOURS, IMAGE_SIZE

SUPERSAMPLING: Final = 3
"""Scenes are drawn this many times larger and then reduced, which smooths the edges."""

Point = tuple[float, float]


def draw_scene(scene: Scene) -> np.ndarray:
    """Draw a scene: uint8 array of shape (IMAGE_SIZE, IMAGE_SIZE, 3), RGB."""
    side = IMAGE_SIZE * SUPERSAMPLING
    canvas = Image.new("RGB", (side, side), scene.background)
    for item in scene.objects:
        canvas.paste(_surface(item, side), mask=_silhouette(item, side))
    return np.asarray(canvas.reduce(SUPERSAMPLING))


def draw_mask(item: SceneObject) -> np.ndarray:
    """Draw the mask of one object: bool array of shape (IMAGE_SIZE, IMAGE_SIZE)."""
    side = IMAGE_SIZE * SUPERSAMPLING
    return np.asarray(_silhouette(item, side).reduce(SUPERSAMPLING)) > 127


def _silhouette(item: SceneObject, side: int) -> Image.Image:
    mask = Image.new("L", (side, side), 0)
    pen = ImageDraw.Draw(mask)
    centre_x, centre_y, radius = (value * SUPERSAMPLING for value in (item.x, item.y, item.radius))
    if item.shape == "circle":
        pen.ellipse((centre_x - radius, centre_y - radius, centre_x + radius, centre_y + radius), fill=255)
        return mask
    for polygon in _polygons(item.shape):
        pen.polygon([_place(point, item.angle, centre_x, centre_y, radius) for point in polygon], fill=255)
    return mask


def _place(point: Point, angle: float, centre_x: float, centre_y: float, radius: float) -> Point:
    cosine, sine = math.cos(math.radians(angle)), math.sin(math.radians(angle))
    x, y = point
    return centre_x + radius * (cosine * x - sine * y), centre_y + radius * (sine * x + cosine * y)


def _polygons(shape: str) -> list[list[Point]]:
    """Outline of a shape in units of its radius, y pointing down."""
    if shape == "square":
        return [[(-0.9, -0.9), (0.9, -0.9), (0.9, 0.9), (-0.9, 0.9)]]
    if shape == "triangle":
        return [[(0.0, -1.05), (1.05, 0.85), (-1.05, 0.85)]]
    if shape == "star":
        radii = (1.15, 0.48)
        corners = [(radii[k % 2], math.pi * k / 5) for k in range(10)]
        return [[(length * math.sin(turn), -length * math.cos(turn)) for length, turn in corners]]
    if shape == "cross":
        arm = 0.36
        return [
            [(-arm, -1.05), (arm, -1.05), (arm, 1.05), (-arm, 1.05)],
            [(-1.05, -arm), (1.05, -arm), (1.05, arm), (-1.05, arm)],
        ]
    if shape == "heart":
        turns = [2 * math.pi * k / 40 for k in range(40)]
        return [[(1.05 * math.sin(t) ** 3, -_heart_height(t)) for t in turns]]
    raise AssertionError(f"no outline for the shape {shape!r}")


def _heart_height(turn: float) -> float:
    cosines = 13 * math.cos(turn) - 5 * math.cos(2 * turn) - 2 * math.cos(3 * turn) - math.cos(4 * turn)
    return cosines / 15.5 + 0.12


def _surface(item: SceneObject, side: int) -> Image.Image:
    colour = COLOURS[item.colour]
    surface = Image.new("RGB", (side, side), colour)
    if item.texture == "plain":
        return surface
    marks = Image.new("L", (side, side), 0)
    pen = ImageDraw.Draw(marks)
    if item.texture == "striped":
        _draw_stripes(pen, side)
    else:
        _draw_dots(pen, side)
    shifted = ImageChops.offset(marks, round(item.x * SUPERSAMPLING), round(item.y * SUPERSAMPLING))
    surface.paste(_contrasting(colour), mask=shifted)
    return surface


def _draw_stripes(pen: ImageDraw.ImageDraw, side: int) -> None:
    period, width = 6 * SUPERSAMPLING, 2 * SUPERSAMPLING
    for top in range(0, side, period):
        pen.rectangle((0, top, side, top + width), fill=255)


def _draw_dots(pen: ImageDraw.ImageDraw, side: int) -> None:
    period, radius = 6 * SUPERSAMPLING, 1.4 * SUPERSAMPLING
    for row, y in enumerate(range(0, side, period)):
        for x in range((row % 2) * period // 2, side, period):
            pen.ellipse((x - radius, y - radius, x + radius, y + radius), fill=255)


def _contrasting(colour: tuple[int, int, int]) -> tuple[int, int, int]:
    """Mix a dark colour with white and a light one with black, so that marks show and the colour stays readable."""
    luminance = 0.3 * colour[0] + 0.59 * colour[1] + 0.11 * colour[2]
    target = 255 if luminance < 110 else 0
    red, green, blue = (round(0.45 * channel + 0.55 * target) for channel in colour)
    return red, green, blue
