"""Which object a word belongs to, its mask in each model's image, and how much of a map lies on it."""

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from torch import Tensor

from stages.attention.recording import SIDE
from stages.attention.words import Word
from stages.studies.figures.entity_masks import find_masks, noun_of, share_inside
from stages.studies.figures.shown_prompts import ShownPrompt
from tests.stages.studies.figures.shown import COLOURS, PARSED, shown_prompt


class ByColour:
    """Finds circles in the upper half of what is red, squares in the lower half of what is blue."""

    networks: dict = {}  # noqa: RUF012

    def __init__(self) -> None:
        self.asked: list[list[str]] = []

    def segment(self, images: Tensor, nouns: Sequence[Sequence[str]]) -> list[Tensor]:
        self.asked += [list(one) for one in nouns]
        found = []
        for image, of_image in zip(images, nouns, strict=True):
            masks = torch.zeros(len(of_image), *image.shape[1:], dtype=torch.bool)
            half = image.shape[1] // 2
            if image[0].mean() > 0.5:
                masks[of_image.index("circle"), :half] = True
            else:
                masks[of_image.index("square"), half:] = True
            found.append(masks)
        return found


def test_an_attribute_has_the_mask_of_the_noun_after_it() -> None:
    nouns = [noun_of(word, PARSED) for word in PARSED]
    assert [noun.text for noun in nouns if noun] == ["circle", "circle", "square", "square"]
    assert noun_of(Word("and", "chosen", [4]), PARSED) is None
    assert noun_of(Word("red circle", "chosen", [2, 3]), PARSED) is None


def test_masks_are_of_each_models_own_image() -> None:
    segmenter = ByColour()
    prompt = shown_prompt()
    chosen = ShownPrompt(prompt.text, [*PARSED, Word("and", "chosen", [4])], PARSED, prompt.recordings)
    masks = find_masks(segmenter, chosen)
    assert segmenter.asked == [["circle", "square"]] * 2
    found = {model: [None if mask is None else mask.mean() for mask in of_model] for model, of_model in masks.items()}
    assert found == {"base": [0.5, 0.5, 0, 0, None], "tuned": [0, 0, 0.5, 0.5, None]}
    assert masks["base"][0] is not None and masks["base"][0][0].all()
    assert list(masks) == list(COLOURS)


def test_share_inside_is_the_maps_part_on_the_mask() -> None:
    heat = np.zeros((SIDE, SIDE), dtype=np.float32)
    heat[: SIDE // 2] = 3
    heat[SIDE // 2 :] = 1
    mask = np.zeros((4, 4), dtype=bool)
    mask[:2] = True
    assert share_inside(heat, mask) == pytest.approx(0.75)
    assert share_inside(heat, ~mask) == pytest.approx(0.25)
    assert share_inside(np.zeros_like(heat), mask) == 0
