"""Real images of the base world, captioned by someone who looked: what COCO is to the paper's models.

The careless captions of the web are what the base model was trained on. To a captioner they are as unlikely as wrong
ones, and its gradient on them says nothing.
"""

import random
from typing import Final

import numpy as np

from comat_core.support.randomness import derive_seed
from data.miniature_world.captions import clean_caption
from data.miniature_world.datasets import make_scene
from data.miniature_world.drawing import draw_scene

SPLITS: Final = ("train", "validation")


def base_world_pair(seed: int, split: str, index: int) -> tuple[np.ndarray, str]:
    """Draw pair number `index` of a split, "train" or "validation".

    Returns:
        the image, uint8 of shape (IMAGE_SIZE, IMAGE_SIZE, 3), and its caption.
    """
    assert split in SPLITS, split
    pair_seed = derive_seed(seed, "base world pairs", split)
    scene = make_scene("base world", pair_seed, index)
    caption = clean_caption(scene, random.Random(derive_seed(pair_seed, "caption", index)))
    return draw_scene(scene), caption


def fidelity_prompts(seed: int, count: int) -> list[tuple[str, str]]:
    """Captions of the first validation images, as (text, skill): what is generated to compare with those images."""
    return [(base_world_pair(seed, "validation", index)[1], "fidelity") for index in range(count)]
