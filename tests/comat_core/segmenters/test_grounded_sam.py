"""Boxes to masks: Grounded-SAM behind the segmenter protocol."""

import copy
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from segment_anything import SamPredictor
from torch import Tensor

from comat_core.segmenters.grounded_sam import GroundedSamSegmenter, load_sam
from comat_core.segmenters.grounding_dino import Detections, GroundingDinoDetector
from comat_core.segmenters.instance_settings import InstanceSettings
from comat_core.support.errors import UserError
from tests.pictures import natural_pictures
from tests.tiny_segmenters import SAM_SIDE, TINY_DETECTOR

EVERYTHING = InstanceSettings(smallest_share=0, most_overlap=1)
BOXES = torch.tensor([[4.0, 6.0, 30.0, 40.0], [20.0, 20.0, 60.0, 62.0], [0.0, 0.0, 63.0, 30.0]])


class ScriptedDetector:
    """Finds two boxes of the third noun and one of the first in every image that is asked for nouns."""

    def detect(self, images: Tensor, nouns: list[list[str]]) -> list[Detections]:
        assert images.min() >= 0
        assert images.max() <= 1
        found = Detections(BOXES, torch.tensor([0.9, 0.8, 0.7]), torch.tensor([2, 0, 2]), ("c", "a", "c"))
        nothing = Detections(BOXES[:0], torch.zeros(0), torch.zeros(0, dtype=torch.long), ())
        return [found if of_image else nothing for of_image in nouns]


@pytest.fixture
def sam(sam_file: str, _tiny_sam_type: None) -> Any:
    return load_sam(sam_file, "vit_tiny")


def predicted_masks(sam: Any, image: Tensor) -> list[Tensor]:
    """Cut each box out by SAM's own predictor on the 8-bit image, box by box."""
    predictor = SamPredictor(sam)
    predictor.set_image((image * 255).round().to(torch.uint8).permute(1, 2, 0).numpy())
    masks = [predictor.predict(box=box.numpy(), multimask_output=False)[0][0] for box in BOXES]
    return [torch.from_numpy(mask) for mask in masks]


def test_union_of_the_boxes_of_each_noun(sam: Any) -> None:
    images = natural_pictures(2, SAM_SIDE, SAM_SIDE)
    masks = GroundedSamSegmenter(ScriptedDetector(), sam).segment(images, [["a", "b", "c"], ["a", "b", "c"]])  # type: ignore[arg-type]

    for image, of_image in zip(images, masks, strict=True):
        first, second, third = predicted_masks(sam, image)
        assert of_image.dtype == torch.bool
        assert torch.equal(of_image[0], second)
        assert not of_image[1].any()
        assert torch.equal(of_image[2], first | third)
    assert 0.02 < masks[0][2].float().mean() < 0.98, "the tiny SAM must not be constant"
    assert not torch.equal(masks[0], masks[1])


def test_single_objects_are_the_masks_of_the_boxes_the_surest_first(sam: Any) -> None:
    images = natural_pictures(2, SAM_SIDE, SAM_SIDE)
    segmenter = GroundedSamSegmenter(ScriptedDetector(), sam, instances=EVERYTHING)  # type: ignore[arg-type]
    found = segmenter.segment_instances(images, [["a", "b", "c"], ["a", "b", "c"]])

    for image, (one, none, two) in zip(images, found, strict=True):
        first, second, third = predicted_masks(sam, image)
        assert torch.equal(one, second[None])
        assert none.shape == (0, SAM_SIDE, SAM_SIDE)
        assert torch.equal(two, torch.stack([first, third]))
        assert two.dtype == torch.bool


def test_boxes_of_one_object_count_once(sam: Any) -> None:
    image = natural_pictures(1, SAM_SIDE, SAM_SIDE)
    first, _, third = predicted_masks(sam, image[0])
    shared = float((first & third).sum() / min(first.sum(), third.sum()))
    assert 0 < shared < 1, "the boxes' masks must overlap in part"
    counts = []
    for most_overlap in (shared - 0.01, shared + 0.01):
        instances = InstanceSettings(smallest_share=0, most_overlap=most_overlap)
        segmenter = GroundedSamSegmenter(ScriptedDetector(), sam, instances=instances)  # type: ignore[arg-type]
        ((_, _, found),) = segmenter.segment_instances(image, [["a", "b", "c"]])
        assert torch.equal(found[0], first)
        counts.append(len(found))
    assert counts == [1, 2]


@pytest.mark.parametrize("size", [(100, 70), (32, 40)])
def test_images_of_any_size_are_resized_for_sam(sam: Any, size: tuple[int, int]) -> None:
    images = natural_pictures(1, *size)
    boxes = BOXES * min(size) / 64
    predictor = SamPredictor(sam)
    predictor.set_image((images[0] * 255).round().to(torch.uint8).permute(1, 2, 0).numpy())
    expected = torch.from_numpy(predictor.predict(box=boxes[1].numpy(), multimask_output=False)[0][0])
    found = Detections(boxes[1:2], torch.ones(1), torch.zeros(1, dtype=torch.long), ("a",))

    mask = GroundedSamSegmenter(None, sam)._cut_out(images[0], found, 1)[0]  # type: ignore[arg-type]

    assert mask.shape == size
    assert (mask == expected).float().mean() > 0.97


def test_many_boxes_equal_few(sam: Any) -> None:
    image = natural_pictures(1, SAM_SIDE, SAM_SIDE)[0]
    segmenter = GroundedSamSegmenter(None, sam)  # type: ignore[arg-type]
    once = Detections(BOXES, torch.ones(3), torch.tensor([0, 1, 0]), ("a",) * 3)
    often = Detections(BOXES.repeat(30, 1), torch.ones(90), torch.tensor([0, 1, 0]).repeat(30), ("a",) * 90)

    assert torch.equal(segmenter._cut_out(image, once, 2), segmenter._cut_out(image, often, 2))


def test_image_without_a_box_never_reaches_sam() -> None:
    segmenter = GroundedSamSegmenter(ScriptedDetector(), None)  # type: ignore[arg-type]
    masks = segmenter.segment(natural_pictures(1, 20, 30) * 3 - 1, [[]])

    assert [tuple(of_image.shape) for of_image in masks] == [(0, 20, 30)]
    assert segmenter.segment_instances(natural_pictures(1, 20, 30), [[]]) == [[]]


def test_whole_chain_from_files(
    detector: GroundingDinoDetector, detector_file: str, sam_file: str, text_encoder: str, _tiny_sam_type: None
) -> None:
    segmenter = GroundedSamSegmenter.load(
        detector_file,
        sam_file,
        sam_model_type="vit_tiny",
        text_encoder=text_encoder,
        config=TINY_DETECTOR,
        shorter_side=64,
        longer_side=112,
        box_threshold=0.0,
        text_threshold=0.0,
    )
    images = natural_pictures(2, 48, 64).requires_grad_()
    masks = segmenter.segment(images, [["dog", "?", "star"], []])

    assert [tuple(of_image.shape) for of_image in masks] == [(3, 48, 64), (0, 48, 64)]
    assert not masks[0][1].any()
    everything = copy.copy(detector)
    everything.box_threshold = everything.text_threshold = 0.0
    (detections, _) = everything.detect(images.detach(), [["dog", "?", "star"], []])
    assert [bool(masks[0][noun].any()) for noun in (0, 2)] == [noun in detections.noun_indices for noun in (0, 2)]

    segmenter.instances = EVERYTHING
    (found, nothing) = segmenter.segment_instances(images, [["dog", "?", "star"], []])
    assert nothing == []
    for mask, instances in zip(masks[0], found, strict=True):
        assert torch.equal(instances.any(dim=0), mask)
        assert not instances.requires_grad
    assert sum(map(len, found)) > 2


def test_sam_is_frozen(sam: Any) -> None:
    assert not sam.training
    assert not any(parameter.requires_grad for parameter in sam.parameters())


def test_unknown_sam_type(sam_file: str) -> None:
    with pytest.raises(UserError, match="use one of vit_h, vit_l, vit_b"):
        load_sam(sam_file, "vit_x")


def test_sam_of_another_type(sam_file: str) -> None:
    with pytest.raises(UserError, match="does not fit the model"):
        load_sam(sam_file, "vit_b")


def test_absent_and_damaged_files(tmp_path: Path, _tiny_sam_type: None) -> None:
    damaged = tmp_path / "damaged.pth"
    damaged.write_bytes(b"not a checkpoint")

    for path in (tmp_path / "absent.pth", damaged):
        with pytest.raises(UserError, match="cannot read the checkpoint") as caught:
            load_sam(path, "vit_tiny")
        assert str(path) in str(caught.value)


def test_importing_the_segmenters_does_not_import_grounding_dino() -> None:
    code = (
        "import sys, comat_core.segmenters; print('groundingdino' in sys.modules or 'segment_anything' in sys.modules)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert result.stdout.strip() == "False"
