import numpy as np
import pytest
import torch

from comat_core.detectors.clipseg import ClipSegObjects, boxes_of
from comat_core.detectors.grounding_dino import GroundingDinoObjects
from comat_core.segmenters.grounding_dino import Detections


def test_each_connected_part_of_a_mask_is_a_box_in_pixels():
    probabilities = np.zeros((20, 30))
    probabilities[2:5, 4:10] = 0.9
    probabilities[10:20, 20:30] = 0.75
    probabilities[0, 29] = 0.99  # a speck: one of 600 pixels is less than half a per cent
    first, second = boxes_of("cat", probabilities, 0.5)
    assert (first.label, first.x_min, first.y_min, first.x_max, first.y_max) == ("cat", 4, 2, 10, 5)
    assert first.confidence == pytest.approx(0.9)
    assert (second.x_min, second.y_min, second.x_max, second.y_max) == (20, 10, 30, 20)


class FixedSegmenter:
    threshold = 0.5

    def probabilities(self, images, nouns):
        masks = [torch.zeros(len(of_image), *images.shape[-2:]) for of_image in nouns]
        masks[0][0, :4, :4], masks[0][1, 4:, 4:] = 0.6, 0.8
        return masks


def test_boxes_of_masks_are_surest_first_and_carry_their_nouns():
    found = ClipSegObjects(FixedSegmenter()).detect_objects(torch.zeros(2, 3, 8, 8), [["cat", "dog"], []])  # type: ignore[arg-type]
    assert [(box.label, round(box.confidence, 2)) for box in found[0]] == [("dog", 0.8), ("cat", 0.6)]
    assert found[1] == []


class FixedDetector:
    def detect(self, images, nouns):
        assert len(images) == len(nouns) == 1
        boxes = torch.tensor([[1.0, 2.0, 3.0, 4.0], [5.0, 6.0, 7.0, 8.0]])
        return [Detections(boxes, torch.tensor([0.9, 0.4]), torch.tensor([1, 0]), ("dog", "cat"))]


def test_grounding_dinos_boxes_are_labelled_with_the_nouns_asked_for():
    found = GroundingDinoObjects(FixedDetector()).detect_objects(torch.zeros(1, 3, 8, 8), [["cat", "dog"]])  # type: ignore[arg-type]
    assert [box.label for box in found[0]] == ["dog", "cat"]
    assert (found[0][1].x_min, found[0][1].y_min, found[0][1].x_max, found[0][1].y_max) == (5, 6, 7, 8)
