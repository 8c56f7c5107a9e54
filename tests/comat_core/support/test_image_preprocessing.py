"""The differentiable preprocessing against the processors that it stands in for."""

from typing import Any

import pytest
import torch
from transformers import BlipImageProcessor, CLIPImageProcessor, LlavaImageProcessor, ViTImageProcessor

from comat_core.support.errors import UserError
from comat_core.support.image_preprocessing import ImagePreprocessing
from comat_core.support.randomness import make_generator
from tests.pictures import as_bytes, natural_pictures

SIDE = 48
SQUARE = {"height": SIDE, "width": SIDE}
PROCESSORS: dict[str, Any] = {
    "blip": BlipImageProcessor(size=SQUARE),
    "clip": CLIPImageProcessor(size={"shortest_edge": SIDE}, crop_size=SQUARE),
    "clipseg": ViTImageProcessor(size=SQUARE),
    "unnormalised": BlipImageProcessor(size=SQUARE, do_normalize=False),
}
EIGHT_BIT_TOLERANCE = 1.6 / 255 / 0.224
"""The processors round to 8 bits after resizing with 8-bit weights; 0.224 is the smallest standard deviation."""


@pytest.mark.parametrize("name", PROCESSORS)
@pytest.mark.parametrize("size", [(64, 64), (20, 20), (48, 48), (131, 67), (30, 90)])
def test_equals_the_own_processor_up_and_down(name: str, size: tuple[int, int]) -> None:
    images = natural_pictures(2, *size)
    expected = PROCESSORS[name](as_bytes(images), return_tensors="pt").pixel_values

    result = ImagePreprocessing.from_processor(PROCESSORS[name], "test")(images)

    assert result.shape == expected.shape
    assert result.dtype == torch.float32
    assert (result - expected).abs().max() < EIGHT_BIT_TOLERANCE
    assert (result - expected).abs().mean() < 0.3 * EIGHT_BIT_TOLERANCE


def test_gradient_is_that_of_the_linear_map() -> None:
    preprocess = ImagePreprocessing.from_processor(PROCESSORS["blip"], "test")
    images = natural_pictures(1, 70, 50).requires_grad_()
    generator = make_generator(0, "direction")
    direction = torch.randn(images.shape, generator=generator)
    output = preprocess(images)
    weights = torch.randn(output.shape, generator=generator)

    (gradient,) = torch.autograd.grad((output * weights).sum(), images)

    with torch.no_grad():
        difference = ((preprocess(images + direction) - preprocess(images)) * weights).sum()
    torch.testing.assert_close((gradient * direction).sum(), difference, rtol=1e-3, atol=1e-2)


def test_tails_outside_the_range_are_kept() -> None:
    preprocess = ImagePreprocessing.from_processor(PROCESSORS["unnormalised"], "test")

    torch.testing.assert_close(preprocess(torch.full((1, 3, 9, 9), 1.2)), torch.full((1, 3, SIDE, SIDE), 1.2))


def test_half_precision_images_are_processed_in_float32() -> None:
    preprocess = ImagePreprocessing.from_processor(PROCESSORS["blip"], "test")
    images = natural_pictures(1, 64, 64)

    assert preprocess(images.half()).dtype == torch.float32
    assert (preprocess(images.half()) - preprocess(images)).abs().max() < 0.01


@pytest.mark.parametrize(
    ("processor", "message"),
    [
        (LlavaImageProcessor(do_pad=True), "pads"),
        (BlipImageProcessor(do_resize=False), "does not resize"),
        (BlipImageProcessor(rescale_factor=1 / 127.5), "rescale"),
        (BlipImageProcessor(size={"longest_edge": 30, "shortest_edge": 20}), "longest_edge, shortest_edge"),
    ],
)
def test_refuses_what_it_cannot_reproduce(processor: Any, message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        ImagePreprocessing.from_processor(processor, "folder-of-the-model")
    assert caught.value.where == "folder-of-the-model"
