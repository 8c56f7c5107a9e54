"""First lessons of a vision encoder: what stands at each of its patches.

The encoders of the original models were trained on hundreds of millions of images before they met their task. Ours
learn to see from the scenes themselves, patch by patch, which teaches far faster than a word about the whole image.
"""

from collections.abc import Callable
from typing import Final

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from data.miniature_world.drawing import draw_mask
from data.miniature_world.recipes.fitting import draw_rows, fit, initialise, jitter, pixels_to_unit_range
from data.miniature_world.scenes import Scene
from data.miniature_world.vocabulary import COLOURS, IMAGE_SIZE, INVERSE_RELATION, RELATIONS, SHAPES, TEXTURES

STEPS: Final = 2_000
BATCH_SIZE: Final = 32
LEARNING_RATE: Final = 1.5e-3

CLASSES: Final = (len(SHAPES) + 1, len(COLOURS) + 1, len(TEXTURES) + 1, len(RELATIONS) + 1)
"""Of shape, colour, texture and place; class 0 is the background, and the place of an object that stands alone."""
COVERED_SHARE: Final = 0.25
"""A patch shows an object when the object covers at least this share of it."""


def teach_to_see(
    vision: nn.Module,
    patch_features: Callable[[torch.Tensor], torch.Tensor],
    scenes: list[Scene],
    images: torch.Tensor,
    *,
    patch_size: int,
    width: int,
    seed: int,
    steps: int = STEPS,
    places: bool = False,
    name: str = "seeing",
) -> None:
    """Train a vision encoder in place to tell shape, colour and texture of every patch.

    Args:
        places: teach besides how the object of a patch stands to the other one of its scene. A caption says so in one
            word of ten, which by itself teaches nothing within thousands of steps.
        patch_features: runs `vision` on images (B, 3, H, W) in [0, 1]; returns (B, patches, width).
        images: uint8 (scenes, H, W, 3), the pictures of `scenes`.
        patch_size: side of a patch in pixels.
        name: of the lesson; two of one model need two.
    """
    classes = CLASSES if places else CLASSES[:-1]
    heads = nn.Linear(width, sum(classes))
    initialise(heads, seed, "seeing heads")
    labels = torch.from_numpy(np.stack([patch_labels(scene, patch_size) for scene in scenes]))[..., : len(classes)]
    both = nn.ModuleList([vision, heads])

    def loss_of_step(step: int) -> torch.Tensor:
        rows = draw_rows(seed, name, step, len(scenes), BATCH_SIZE)
        batch = jitter(pixels_to_unit_range(images[rows]), seed, step)
        logits = heads(patch_features(batch)).float()
        parts = zip(logits.split(classes, dim=-1), labels[rows].long().unbind(-1), strict=True)
        losses = [functional.cross_entropy(logit.flatten(0, 1), label.flatten()) for logit, label in parts]
        return torch.stack(losses).sum()

    fit(both, loss_of_step, steps=steps, learning_rate=LEARNING_RATE, name=name)


def patch_labels(scene: Scene, patch_size: int) -> np.ndarray:
    """Classes of shape, colour, texture and place of each patch, row by row: uint8 (patches, 4)."""
    side = IMAGE_SIZE // patch_size
    labels = np.zeros((side, side, len(CLASSES)), dtype=np.uint8)
    for item, place in zip(scene.objects, _places(scene), strict=True):
        blocks = draw_mask(item).reshape(side, patch_size, side, patch_size)
        covered = blocks.mean(axis=(1, 3)) >= COVERED_SHARE
        names = (SHAPES.index(item.shape), list(COLOURS).index(item.colour), TEXTURES.index(item.texture))
        labels[covered] = [*(index + 1 for index in names), place]
    return labels.reshape(side * side, len(CLASSES))


def _places(scene: Scene) -> list[int]:
    """For each object the class of its place: how it stands to the other one, 0 without another."""
    if scene.relation is None:
        return [0]
    return [1 + RELATIONS.index(relation) for relation in (scene.relation, INVERSE_RELATION[scene.relation])]
