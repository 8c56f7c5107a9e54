"""Single objects from a segmenter's masks."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from comat_core.segmenters.clipseg import ClipSegSegmenter
from comat_core.segmenters.instance_settings import InstanceSettings
from comat_core.segmenters.instances import DEFAULT_INSTANCES, connected_parts, distinct_instances
from comat_core.support.randomness import make_generator
from stages.plan.config import ModelReference
from tests.comat_core.training.two_of_a_kind import images_of, scene_of, true_mask

EVERYTHING = InstanceSettings(smallest_share=0, most_overlap=1)


def flooded(mask: Tensor) -> list[frozenset[tuple[int, int]]]:
    """The connected parts of a mask, each grown from one of its pixels."""
    left = {(row, column) for row, column in mask.nonzero().tolist()}
    parts = []
    while left:
        edge, part = [left.pop()], set()
        while edge:
            row, column = edge.pop()
            part.add((row, column))
            near = {(row + 1, column), (row - 1, column), (row, column + 1), (row, column - 1)} & left
            left -= near
            edge += near
        parts.append(frozenset(part))
    return parts


@settings(max_examples=60, deadline=None)
@given(height=st.integers(1, 9), width=st.integers(1, 9), seed=st.integers(0, 1000), density=st.floats(0, 1))
def test_connected_parts_are_those_that_a_flood_finds(height: int, width: int, seed: int, density: float) -> None:
    mask = torch.rand(height, width, generator=make_generator(seed, "mask")) < density
    parts = connected_parts(mask)
    found = [frozenset((row, column) for row, column in part.nonzero().tolist()) for part in parts]
    assert parts.dtype == torch.bool
    assert set(found) == set(flooded(mask))
    assert sorted(map(len, found), reverse=True) == list(map(len, found))


def boxes(*corners: tuple[int, int, int, int]) -> Tensor:
    masks = torch.zeros(len(corners), 20, 20, dtype=torch.bool)
    for mask, (top, left, bottom, right) in zip(masks, corners, strict=True):
        mask[top:bottom, left:right] = True
    return masks


def test_specks_and_empty_masks_are_no_objects() -> None:
    masks = boxes((0, 0, 1, 1), (0, 0, 2, 1), (5, 5, 9, 9), (3, 3, 3, 3))
    assert torch.equal(distinct_instances(masks, DEFAULT_INSTANCES), masks[[1, 2]])
    assert torch.equal(distinct_instances(masks, InstanceSettings(smallest_share=0.02)), masks[[2]])
    assert torch.equal(distinct_instances(masks, EVERYTHING), masks[:3])


def test_of_two_masks_of_one_object_the_surer_stays() -> None:
    girl, same_girl, both_girls, other_girl = boxes((0, 0, 8, 8), (0, 1, 8, 9), (0, 0, 8, 18), (0, 10, 8, 18))
    masks = torch.stack([girl, same_girl, both_girls, other_girl])
    assert torch.equal(distinct_instances(masks, DEFAULT_INSTANCES), masks[[0, 3]])
    assert torch.equal(distinct_instances(masks.flip(0), DEFAULT_INSTANCES), masks[[3, 1]])
    assert torch.equal(distinct_instances(masks, EVERYTHING), masks)
    assert len(distinct_instances(masks[:0], DEFAULT_INSTANCES)) == 0


@pytest.fixture(scope="module")
def clipseg() -> ClipSegSegmenter:
    return ClipSegSegmenter.load(ModelReference(path="data://miniature/segmenter").resolve())


@pytest.mark.parametrize("shape", ["circle", "square", "star"])
def test_the_miniature_segmenter_tells_two_drawn_objects_of_one_shape_apart(
    clipseg: ClipSegSegmenter, shape: str
) -> None:
    scene = scene_of(("red", shape, "left"), ("blue", shape, "right"))
    ((found,),) = clipseg.segment_instances(images_of([scene]), [[shape]])
    assert len(found) == 2
    for item in scene.objects:
        overlaps = [(mask & true_mask(item)).sum() / (mask | true_mask(item)).sum() for mask in found]
        assert max(overlaps) > 0.5
        assert min(overlaps) == 0


def test_no_noun_and_no_image(clipseg: ClipSegSegmenter) -> None:
    scene = scene_of(("red", "circle", "left"))
    assert clipseg.segment_instances(images_of([scene]), [[]]) == [[]]
