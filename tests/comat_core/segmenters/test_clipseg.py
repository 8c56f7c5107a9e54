"""CLIPSeg behind the segmenter protocol."""

import pytest
import torch

from comat_core.segmenters.clipseg import ClipSegSegmenter
from comat_core.support.pretrained import load_processor
from tests.pictures import as_bytes, natural_pictures
from tests.tiny_segmenters import SEGMENTER_SIDE, save_tiny_clipseg

NOUNS = [["dog", "red circle", "dog"], [], ["heart"]]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> str:
    return save_tiny_clipseg(tmp_path_factory.mktemp("clipseg"))


@pytest.fixture
def segmenter(folder: str) -> ClipSegSegmenter:
    return ClipSegSegmenter.load(folder)


def test_equals_the_stock_model_on_every_pair(segmenter: ClipSegSegmenter, folder: str) -> None:
    images = natural_pictures(3, SEGMENTER_SIDE, SEGMENTER_SIDE)
    processor = load_processor(folder)
    pairs = [(image, noun) for image, of_image in enumerate(NOUNS) for noun in of_image]
    inputs = processor(
        text=[noun for _, noun in pairs],
        images=as_bytes(images[[image for image, _ in pairs]]),
        padding=True,
        return_tensors="pt",
    )
    with torch.no_grad():
        expected = segmenter.model(**inputs).logits.sigmoid()

    probabilities = segmenter.probabilities(images, NOUNS)

    assert [tuple(of_image.shape) for of_image in probabilities] == [(n, 32, 32) for n in (3, 0, 1)]
    torch.testing.assert_close(torch.cat(probabilities), expected, rtol=1e-4, atol=1e-4)
    assert expected.std() > 0.05, "the tiny model must not be constant"


def test_masks_have_the_image_size_and_follow_the_threshold(segmenter: ClipSegSegmenter) -> None:
    images = natural_pictures(3, 50, 70)
    probabilities = torch.cat(segmenter.probabilities(images, NOUNS))
    segmenter.threshold = float(probabilities.median())
    masks = segmenter.segment(images, NOUNS)

    assert [tuple(of_image.shape) for of_image in masks] == [(n, 50, 70) for n in (3, 0, 1)]
    assert all(of_image.dtype == torch.bool for of_image in masks)
    assert torch.equal(torch.cat(masks), probabilities > segmenter.threshold)
    assert 0.2 < torch.cat(masks).float().mean() < 0.8


def test_noun_below_the_threshold_everywhere_is_not_found(segmenter: ClipSegSegmenter) -> None:
    images = natural_pictures(3, 50, 70)
    highest = [float(noun.max()) for of_image in segmenter.probabilities(images, NOUNS) for noun in of_image]
    segmenter.threshold = (max(highest) + min(highest)) / 2
    found = [bool(noun.any()) for of_image in segmenter.segment(images, NOUNS) for noun in of_image]

    assert found == [value > segmenter.threshold for value in highest]
    assert any(found)
    assert not all(found)


def test_a_pair_does_not_depend_on_its_batch(segmenter: ClipSegSegmenter) -> None:
    images = natural_pictures(3, 50, 70)
    together = segmenter.probabilities(images, NOUNS)
    alone = segmenter.probabilities(images[2:], [["heart"]])

    torch.testing.assert_close(together[2], alone[0], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(together[0][0], together[0][2])


def test_no_noun_at_all_costs_nothing(segmenter: ClipSegSegmenter) -> None:
    segmenter.model = None

    assert [tuple(of_image.shape) for of_image in segmenter.segment(natural_pictures(2, 9, 8), [[], []])] == [
        (0, 9, 8)
    ] * 2


def test_images_are_clamped_and_carry_no_gradient(segmenter: ClipSegSegmenter) -> None:
    images = (natural_pictures(1, 40, 40) * 1.6 - 0.3).requires_grad_()
    probabilities = segmenter.probabilities(images, [["dog"]])[0]

    assert not probabilities.requires_grad
    torch.testing.assert_close(probabilities, segmenter.probabilities(images.clamp(0, 1), [["dog"]])[0])


def test_the_caller_s_autocast_changes_nothing(segmenter: ClipSegSegmenter) -> None:
    images = natural_pictures(1, 40, 40)
    with torch.autocast("cpu", torch.bfloat16):
        inside = segmenter.probabilities(images, [["dog"]])[0]

    assert torch.equal(inside, segmenter.probabilities(images, [["dog"]])[0])


def test_load_freezes_the_model(folder: str) -> None:
    segmenter = ClipSegSegmenter.load(folder, threshold=0.4)

    assert segmenter.threshold == 0.4
    assert not any(parameter.requires_grad for parameter in segmenter.model.parameters())
