"""Drawing of many scenes at once, each from a seed of its own."""

import random
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import numpy as np

from comat_core.support.randomness import derive_seed
from data.miniature_world.drawing import draw_scene
from data.miniature_world.scenes import Scene, balanced_scene, base_world_scene

SCENE_KINDS: dict[str, Callable[[random.Random], Scene]] = {
    "balanced": balanced_scene,
    "base world": base_world_scene,
}


def make_scene(kind: str, seed: int, index: int) -> Scene:
    """Draw scene number `index` of a kind ("balanced" or "base world"); the same for the same arguments."""
    return SCENE_KINDS[kind](random.Random(derive_seed(seed, f"{kind} scene", index)))


def make_scenes(kind: str, seed: int, count: int, processes: int = 2) -> tuple[list[Scene], np.ndarray]:
    """Draw `count` scenes.

    Returns:
        the scenes, and their images as one uint8 array of shape (count, IMAGE_SIZE, IMAGE_SIZE, 3).
    """
    chunk = 2000
    ranges = [(kind, seed, start, min(start + chunk, count)) for start in range(0, count, chunk)]
    if processes == 1 or len(ranges) == 1:
        parts = [_draw_range(*part) for part in ranges]
    else:
        with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
            parts = list(pool.map(_draw_range, *zip(*ranges, strict=True)))
    scenes = [scene for part in parts for scene in part[0]]
    return scenes, np.concatenate([part[1] for part in parts])


def _draw_range(kind: str, seed: int, start: int, stop: int) -> tuple[list[Scene], np.ndarray]:
    scenes = [make_scene(kind, seed, index) for index in range(start, stop)]
    return scenes, np.stack([draw_scene(scene) for scene in scenes])
