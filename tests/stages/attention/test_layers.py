"""`comat layers`: a layer that looks at the objects comes before one that does not."""

from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from comat_core.backbones import guided_denoiser
from comat_core.backbones.attention_maps import captured_attention
from comat_core.support.errors import UserError
from stages.attention.layers import measure_layers
from stages.attention.words import ChosenPrompt, Word
from tests.stages.attention.test_attention import config_of

PROMPTS = [ChosenPrompt("a", "a red circle", [Word("red", "attribute", [2]), Word("circle", "noun", [3])])]


class LeftHalf:
    """Finds every noun in the left half of the image, or none anywhere."""

    def __init__(self, found: bool = True) -> None:
        self.networks: dict[str, nn.Module] = {}
        self.found = found
        self.asked: list[list[str]] = []

    def segment(self, images: Tensor, nouns: Sequence[Sequence[str]]) -> list[Tensor]:
        self.asked += [list(row) for row in nouns]
        masks = [torch.zeros(len(row), *images.shape[-2:], dtype=torch.bool) for row in nouns]
        for mask in masks:
            mask[:, :, : images.shape[-1] // 2] = self.found
        return masks


def test_a_layer_that_looks_at_the_object_comes_first(tiny_sd_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One layer's maps are replaced: of the noun's token, everything on the left."""

    def with_a_seeing_layer(*arguments):
        context = captured_attention(*arguments)

        class Seeing:
            def __enter__(self):
                self.maps = context.__enter__()
                return self.maps

            def __exit__(self, *error):
                context.__exit__(*error)
                seeing = next(name for name in self.maps if name.startswith("down_blocks.0"))
                self.maps[seeing] = torch.zeros_like(self.maps[seeing])
                self.maps[seeing][:, :, : self.maps[seeing].shape[2] // 2, 3] = 0.5

        return Seeing()

    monkeypatch.setattr(guided_denoiser, "captured_attention", with_a_seeing_layer)
    segmenter = LeftHalf()
    found = measure_layers(config_of(tiny_sd_folder), None, segmenter, PROMPTS)
    assert segmenter.asked == [["circle"]], "attributes have no mask of their own"
    assert len(found) == 7, "all cross-attention layers, the way down included"
    assert found[0].layer.startswith("down_blocks.0")
    assert found[0].average_precision == 1.0
    assert all(overlap.average_precision < 0.95 for overlap in found[1:])
    assert {overlap.chance for overlap in found} == {0.5}
    assert [overlap.chosen for overlap in found] == [not overlap.layer.startswith("down") for overlap in found]
    assert {overlap.side for overlap in found} == {4, 8}


def test_prompts_whose_nouns_nobody_finds_are_an_error(tiny_sd_folder: Path) -> None:
    with pytest.raises(UserError, match="the segmenter finds none of the nouns of 1 prompts"):
        measure_layers(config_of(tiny_sd_folder), None, LeftHalf(found=False), PROMPTS)
