"""SAM 3 behind the segmenter protocol."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor
from transformers import Sam3Processor, Sam3VideoConfig

from comat_core.segmenters.instance_settings import InstanceSettings
from comat_core.segmenters.sam3 import Sam3Segmenter
from comat_core.support.errors import UserError
from tests.pictures import as_bytes, natural_pictures
from tests.tiny_segmenters import (
    SAM3_SIDE,
    save_sam3_processor,
    save_tiny_clipseg,
    save_tiny_sam3,
    tiny_sam3_config,
)

NOUNS = [["dog", "heart"], [], ["star"]]
EVERYTHING = InstanceSettings(smallest_share=0, most_overlap=1)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> str:
    return save_tiny_sam3(tmp_path_factory.mktemp("sam3"))


@pytest.fixture
def segmenter(folder: str) -> Sam3Segmenter:
    return Sam3Segmenter.load(folder, threshold=0.15, instances=EVERYTHING)


def stock_objects(segmenter: Sam3Segmenter, folder: str, image: Tensor, noun: str) -> tuple[Tensor, Tensor]:
    """Scores and masks as the library's own processor and model give them, one image and noun at a time."""
    processor = Sam3Processor.from_pretrained(folder)
    inputs = processor(images=as_bytes(image[None]), text=noun, return_tensors="pt")
    sizes = inputs.pop("original_sizes").tolist()
    with torch.no_grad():
        output = segmenter.model(**inputs)
    (found,) = processor.post_process_instance_segmentation(
        output, threshold=segmenter.threshold, mask_threshold=segmenter.mask_threshold, target_sizes=sizes
    )
    return found["scores"], found["masks"].bool()


def test_objects_are_those_of_the_stock_model_the_surest_first(segmenter: Sam3Segmenter, folder: str) -> None:
    images = torch.stack(as_bytes(natural_pictures(3, SAM3_SIDE, SAM3_SIDE))) / 255
    segmenter.threshold = 0.0
    scores = stock_objects(segmenter, folder, images[0], "dog")[0].sort().values
    segmenter.threshold = float(scores[3:5].mean())
    found = segmenter.segment_instances(images, NOUNS)
    masks = segmenter.segment(images, NOUNS)

    assert [len(of_image) for of_image in found] == [2, 0, 1]
    for image, nouns, instances, united in zip(images, NOUNS, found, masks, strict=True):
        assert united.shape == (len(nouns), SAM3_SIDE, SAM3_SIDE)
        for noun, objects, union in zip(nouns, instances, united, strict=True):
            scores, expected = stock_objects(segmenter, folder, image, noun)
            order = scores.argsort(descending=True, stable=True)
            assert objects.dtype == torch.bool
            assert objects.shape == expected.shape
            assert (objects != expected[order]).float().sum() <= 0.01 * objects.numel()
            assert torch.equal(union, objects.any(dim=0))
    assert len(found[0][0]) == 4
    assert 0.01 < found[0][0].float().mean() < 0.99, "the tiny model must not be constant"


def test_masks_have_the_image_s_size_and_an_object_counts_once(folder: str) -> None:
    segmenter = Sam3Segmenter.load(folder, threshold=1e-6)
    images = natural_pictures(2, 30, 44)
    ((once,), _) = segmenter.segment_instances(images, [["dog"], []])
    segmenter.instances = EVERYTHING
    ((always,), _) = segmenter.segment_instances(images, [["dog"], []])
    assert always.shape == (8, 30, 44)
    assert 1 <= len(once) < 8
    assert torch.equal(once[0], always[0])


def test_no_noun_at_all_costs_nothing(segmenter: Sam3Segmenter) -> None:
    segmenter.model = None
    assert segmenter.segment_instances(natural_pictures(1, 9, 8), [[]]) == [[]]
    assert [tuple(masks.shape) for masks in segmenter.segment(natural_pictures(1, 9, 8), [[]])] == [(0, 9, 8)]


def test_a_noun_without_an_object_has_an_empty_mask_and_the_caller_s_autocast_changes_nothing(folder: str) -> None:
    images = natural_pictures(1, 40, 40)
    blind = Sam3Segmenter.load(folder, threshold=0.999999)
    assert blind.segment_instances(images, [["dog"]])[0][0].shape == (0, 40, 40)
    assert not blind.segment(images, [["dog"]])[0].any()
    seeing = Sam3Segmenter.load(folder, threshold=1e-6)
    with torch.autocast("cpu", torch.bfloat16):
        inside = seeing.segment(images, [["dog"]])[0]
    assert torch.equal(inside, seeing.segment(images, [["dog"]])[0])


def test_the_published_checkpoint_of_detector_and_tracker_is_as_good(segmenter: Sam3Segmenter, tmp_path: Path) -> None:
    config = Sam3VideoConfig(detector_config=tiny_sam3_config().to_dict(), architectures=["Sam3VideoModel"])
    config.save_pretrained(tmp_path)
    weights = {f"detector_model.{name}": value.contiguous() for name, value in segmenter.model.state_dict().items()}
    tracker = {"tracker_model.weight": torch.zeros(2), "tracker_neck.weight": torch.zeros(2)}
    save_file(weights | tracker, tmp_path / "model.safetensors", metadata={"format": "pt"})
    save_sam3_processor(tmp_path)

    loaded = Sam3Segmenter.load(str(tmp_path))
    assert not any(parameter.requires_grad for parameter in loaded.model.parameters())
    for name, value in segmenter.model.state_dict().items():
        assert torch.equal(loaded.model.state_dict()[name], value), name


def test_a_checkpoint_of_another_kind_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="a CLIPSegForImageSegmentation, not a Sam3Model"):
        Sam3Segmenter.load(save_tiny_clipseg(tmp_path))
