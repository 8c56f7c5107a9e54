from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from transformers import Mask2FormerImageProcessor

from comat_core.detectors import Instance
from comat_core.detectors.mask2former import Mask2FormerObjects
from comat_core.support.errors import UserError
from tests.tiny_clip import save_tiny_clip
from tests.tiny_instance_models import save_tiny_mask2former

CLASSES = ["person", "dog", "remote", "tvmonitor"]


class ScriptedModel:
    """Three queries whose 8 x 8 masks are the left half, the upper half and nothing, of an image of 32 px."""

    device, dtype, name_or_path = torch.device("cpu"), torch.float32, "scripted"
    config = SimpleNamespace(id2label=dict(enumerate(CLASSES)))

    def __init__(self):
        self.seen = None

    def __call__(self, pixel_values):
        self.seen = pixel_values
        chances = torch.tensor(  # person, dog, remote, tvmonitor, nothing
            [[0.05, 0.8, 0.05, 0.05, 0.05], [0.05, 0.45, 0.4, 0.05, 0.05], [0.9, 0.02, 0.02, 0.02, 0.04]]
        )
        masks = torch.full((3, 8, 8), -50.0)
        masks[0, :, :4] = 50.0
        masks[1, :4] = torch.log(torch.tensor(3.0))  # probability 0.75
        batch = len(pixel_values)
        return SimpleNamespace(
            class_queries_logits=chances.log()[None].expand(batch, -1, -1),
            masks_queries_logits=masks[None].expand(batch, -1, -1, -1),
        )


def scripted(**settings: Any) -> Mask2FormerObjects:
    values = {"mean": (0.5,) * 3, "std": (0.5,) * 3, "threshold": 0.25, "input_side": 32, **settings}
    return Mask2FormerObjects(ScriptedModel(), **values)  # type: ignore[arg-type]


def test_confidence_is_the_classs_probability_times_the_masks_mean_one():
    found = scripted().detect_objects(torch.rand(2, 3, 32, 32), [["dog", "tv remote", "person"], ["person"]])
    described = [(one.label, one.x_min, one.y_min, one.x_max, one.y_max) for one in found[0]]
    # Masks are enlarged before they are cut at 0: where a logit of 50 meets one of -50, halfway, at 16 px; where log 3
    # meets -50, after 1.1 / 51.1 of the 4 px from the last centre, which is at 14: no pixel further. The person's mask
    # is empty, so it is none. One query can be two objects.
    assert described == [("dog", 0, 0, 16, 32), ("dog", 0, 0, 32, 14), ("tv remote", 0, 0, 32, 14)]
    assert found[0][0].confidence == pytest.approx(0.8, abs=0.01)
    assert found[0][1].confidence == pytest.approx(0.45 * 0.75, abs=0.01)
    assert found[0][2].confidence == pytest.approx(0.4 * 0.75, abs=0.01)
    first = found[0][0]
    assert isinstance(first, Instance)
    assert first.mask.shape == (32, 32)
    assert first.mask[:, :16].all()
    assert not first.mask[:, 16:].any()
    assert found[1] == []


def test_objects_at_the_threshold_or_below_are_none():
    found = scripted(threshold=0.32).detect_objects(torch.rand(1, 3, 32, 32), [["dog", "tv remote"]])
    assert [round(one.confidence, 2) for one in found[0]] == [0.8, 0.34]


def test_images_are_resized_by_their_shorter_side_normalised_and_padded():
    detector = scripted()
    images = torch.ones(1, 3, 10, 12)
    detector.detect_objects(images, [["dog"]])
    seen = detector.model.seen
    assert seen.shape == (1, 3, 32, 64)  # 32 x 38, padded to a multiple of 32
    assert torch.allclose(seen[..., :38], torch.tensor(1.0))  # (1 - 0.5) / 0.5
    assert (seen[..., 38:] == 0).all()
    detector.detect_objects(torch.ones(1, 3, 10, 40), [["dog"]])
    assert detector.model.seen.shape == (1, 3, 32, 64)  # 13 x 53: the longer side is limited to 1333/800 of 32


def test_scores_agree_with_transformers_where_the_masks_have_the_same_resolution(tmp_path):
    folder = save_tiny_mask2former(tmp_path / "model", CLASSES)
    detector = Mask2FormerObjects.load(folder, threshold=0.02, input_side=384)
    images = torch.rand(2, 3, 384, 384, generator=torch.Generator().manual_seed(1))
    found = detector.detect_objects(images, [["person", "dog", "tv remote", "tv"]] * 2)
    assert sum(len(of_image) for of_image in found) >= 2
    inputs = (images - torch.tensor(detector.mean)[:, None, None]) / torch.tensor(detector.std)[:, None, None]
    with torch.no_grad():
        output = detector.model(pixel_values=inputs)
    detector_queries = output.class_queries_logits.shape[1]
    assert detector_queries * len(CLASSES) <= 100  # so that all pairs are candidates
    theirs = Mask2FormerImageProcessor().post_process_instance_segmentation(
        output, threshold=0.02, target_sizes=[(384, 384)] * 2, return_binary_maps=True
    )
    names = dict(zip(range(4), ("person", "dog", "tv remote", "tv"), strict=True))
    for ours, other in zip(found, theirs, strict=True):
        # transformers looks at as many pairs as there are queries, the likeliest.
        expected = sorted(
            ((names[one["label_id"]], one["score"]) for one in other["segments_info"]), key=lambda x: -x[1]
        )
        got = [(one.label, one.confidence) for one in ours[: len(expected)]]
        assert [name for name, _ in got] == [name for name, _ in expected]
        assert [score for _, score in got] == pytest.approx([score for _, score in expected], abs=1e-3)
        sizes = {one.mask.sum() for one in ours if isinstance(one, Instance)}
        assert sizes >= {np.asarray(mask).sum() for mask in other["segmentation"]}


def test_mistakes_are_told(tmp_path):
    folder = save_tiny_mask2former(tmp_path / "model", CLASSES)
    detector = Mask2FormerObjects.load(folder, threshold=0.3, input_side=64)
    with pytest.raises(UserError, match="the detector knows no class 'unicorn'"):
        detector.detect_objects(torch.rand(1, 3, 32, 32), [["unicorn"]])
    (tmp_path / "model" / "preprocessor_config.json").unlink()
    with pytest.raises(UserError, match="the model has no image processor"):
        Mask2FormerObjects.load(folder, threshold=0.3)
    with pytest.raises(UserError, match="not a Mask2FormerForUniversalSegmentation"):
        Mask2FormerObjects.load(save_tiny_clip(tmp_path / "clip"), threshold=0.3)
