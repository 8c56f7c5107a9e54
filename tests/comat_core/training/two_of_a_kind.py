"""Scenes of the miniature world with several objects of one shape, and a segmenter that knows their true masks."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from comat_core.losses.attribute_concentration import EntityTokens
from data.miniature_world.drawing import draw_mask, draw_scene
from data.miniature_world.scenes import Scene, SceneObject
from data.miniature_world.vocabulary import PLAIN

BACKGROUND = (170, 172, 168)
PLACES = {"left": (16.0, 32.0), "right": (48.0, 32.0), "top": (32.0, 14.0), "bottom": (32.0, 50.0)}

RED_CIRCLE = EntityTokens("circle", (3,), (2,))
BLUE_CIRCLE = EntityTokens("circle", (7,), (6,))
GREEN_STAR = EntityTokens("star", (11,), (10,))
TOKENS = 12


def scene_of(*objects: tuple[str, str, str]) -> Scene:
    """A scene of (colour, shape, place) triples."""
    items = (SceneObject(shape, colour, PLAIN, *PLACES[place], 9.0, 0.0) for colour, shape, place in objects)
    return Scene(tuple(items), BACKGROUND, None)


def images_of(scenes: Sequence[Scene]) -> Tensor:
    """Draw scenes, (B, 3, 64, 64) in [0, 1]."""
    return torch.from_numpy(np.stack([draw_scene(scene) for scene in scenes])).permute(0, 3, 1, 2).float() / 255


def true_mask(item: SceneObject) -> Tensor:
    return torch.from_numpy(draw_mask(item))


def looking_at(masks: dict[int, Tensor], side: int) -> Tensor:
    """An attention map (side, side, TOKENS) in which each of the given tokens looks at its mask above all."""
    logits = torch.zeros(side, side, TOKENS)
    for token, mask in masks.items():
        inside = torch.nn.functional.adaptive_avg_pool2d(mask[None].float(), (side, side))[0]
        logits[..., token] = 3 * inside
    return logits.softmax(dim=-1)


class TrueSegmenter:
    """Finds in image i the objects of scene i that have the noun's shape."""

    def __init__(self, scenes: Sequence[Scene], *, backwards: bool = False) -> None:
        self.networks: dict[str, nn.Module] = {}
        self.by_image = {image.numpy().tobytes(): scene for image, scene in zip(images_of(scenes), scenes, strict=True)}
        self.backwards = backwards
        self.calls: list[tuple[str, list[list[str]]]] = []

    def segment(self, images: Tensor, nouns: Sequence[Sequence[str]]) -> list[Tensor]:
        self.calls.append(("segment", [list(row) for row in nouns]))
        return [torch.stack([found.any(dim=0) for found in row]) for row in self._instances(images, nouns)]

    def segment_instances(self, images: Tensor, nouns: Sequence[Sequence[str]]) -> list[list[Tensor]]:
        self.calls.append(("segment_instances", [list(row) for row in nouns]))
        return self._instances(images, nouns)

    def _instances(self, images: Tensor, nouns: Sequence[Sequence[str]]) -> list[list[Tensor]]:
        found = []
        for image, row in zip(images, nouns, strict=True):
            scene = self.by_image[image.numpy().tobytes()]
            found.append([self._of_shape(scene, noun) for noun in row])
        return found

    def _of_shape(self, scene: Scene, noun: str) -> Tensor:
        masks = [true_mask(item) for item in scene.objects if item.shape == noun]
        masks = masks[::-1] if self.backwards else masks
        return torch.stack(masks) if masks else torch.zeros(0, 64, 64, dtype=torch.bool)
