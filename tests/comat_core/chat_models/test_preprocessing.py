"""Each chat model's differentiable preprocessing against the processor that it stands in for."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from transformers import SmolVLMImageProcessor
from transformers.image_utils import IMAGENET_STANDARD_STD, OPENAI_CLIP_STD

from comat_core.chat_models.chat_model import ChatModel
from comat_core.chat_models.smolvlm import SquarePreprocessing
from comat_core.support.errors import UserError
from comat_core.support.separable_resizing import FILTERS, resizing_matrix
from tests.pictures import as_bytes, natural_pictures

SIZES = [(64, 64), (20, 20), (32, 32), (131, 67), (30, 90), (9, 13)]
STEPS_OF_8_BITS = {"qwen2_5_vl": 1.6, "qwen3_vl": 1.6, "smolvlm": 3.2}
"""Levels that rounding after resizing may be off, with 8-bit weights; SmolVLM's processor resizes twice."""
SMALLEST_STD = {"qwen2_5_vl": OPENAI_CLIP_STD, "qwen3_vl": OPENAI_CLIP_STD, "smolvlm": IMAGENET_STANDARD_STD}


@pytest.mark.parametrize("size", SIZES)
def test_equals_the_own_processor_up_and_down(
    kind: str, chat: ChatModel, own_inputs: Callable[..., Any], size: tuple[int, int]
) -> None:
    images = natural_pictures(2, *size)
    expected = own_inputs(as_bytes(images), [chat.image_token] * 2)["pixel_values"]
    result = chat.preprocess(images).reshape(expected.shape)
    tolerance = STEPS_OF_8_BITS[kind] / 255 / min(SMALLEST_STD[kind])
    assert result.dtype == torch.float32
    assert (result - expected).abs().max() < tolerance
    assert (result - expected).abs().mean() < 0.3 * tolerance


def test_values_outside_the_range_are_kept(chat: ChatModel) -> None:
    one, more = (chat.preprocess(torch.full((1, 3, 24, 24), value)) for value in (1.0, 1.2))
    step = one - chat.preprocess(torch.full((1, 3, 24, 24), 0.8))
    torch.testing.assert_close(more - one, step, rtol=1e-3, atol=1e-4)


def test_the_text_around_an_image_is_the_processor_s(
    kind: str, chat: ChatModel, own_inputs: Callable[..., Any]
) -> None:
    images = natural_pictures(1, 40, 56)
    plain = chat.given("Look.")
    written = plain.replace("<fake_token_around_image>", "").replace("<global-img>", "")
    ids = own_inputs(as_bytes(images), [written])["input_ids"][0]
    image_id = chat.model.config.image_token_id
    expanded = [token for token in ids.tolist() if token != image_id]
    ours = chat.tokenizer(plain).input_ids
    assert [token for token in ours if token != image_id] == expanded
    assert ours.count(image_id) == 1 and ours.index(image_id) == chat.image_column
    assert (ids == image_id).sum() == chat.see(images).features.shape[1]
    assert (kind == "smolvlm") == (written != plain)


@pytest.mark.parametrize("resample", FILTERS)
def test_a_resizing_keeps_what_is_even(resample: int) -> None:
    for sides in [(9, 40), (40, 9), (7, 64, 16), (5, 5)]:
        matrix = torch.from_numpy(resizing_matrix(resample, sides))
        torch.testing.assert_close(matrix.sum(dim=1), torch.ones(sides[-1], dtype=torch.float64))
    assert torch.equal(torch.from_numpy(resizing_matrix(resample, (5, 5))), torch.eye(5, dtype=torch.float64))


@pytest.mark.parametrize("settings", [{"do_normalize": False}, {"resample": 0}, {"do_rescale": False}])
def test_smolvlm_refuses_what_it_cannot_reproduce(settings: dict[str, Any]) -> None:
    with pytest.raises(UserError, match="the image processor does not resize") as caught:
        SquarePreprocessing.from_processor(SmolVLMImageProcessor(**settings), "folder-of-the-model")
    assert caught.value.where == "folder-of-the-model"
