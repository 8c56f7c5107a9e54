"""Captioner and segmenter away from the device between their calls: the same numbers, and nothing left behind."""

from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from comat_core.captioners.blip import BlipCaptioner
from comat_core.segmenters.clipseg import ClipSegSegmenter
from comat_core.support.memory.offloading import HOME, OffloadedCaptioner, OffloadedSegmenter
from comat_core.support.randomness import make_generator
from tests.tiny_captioners import save_tiny_blip
from tests.tiny_segmenters import save_tiny_clipseg

CAPTIONS = ("a red circle", "a green star")


@pytest.fixture(scope="module")
def blip_folder(tmp_path_factory: pytest.TempPathFactory) -> str:
    return save_tiny_blip(tmp_path_factory.mktemp("blip"))


def images() -> Tensor:
    return torch.rand(2, 3, 32, 32, generator=make_generator(1, "images")).requires_grad_()


@pytest.mark.parametrize("autocast", [False, True])
def test_likelihood_and_the_images_gradient_are_the_same(blip_folder: str, autocast: bool) -> None:
    results = []
    for offloaded in (False, True):
        captioner = BlipCaptioner.load(blip_folder)
        pixels = images()
        with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            scored = (OffloadedCaptioner(captioner) if offloaded else captioner).log_likelihood(pixels, CAPTIONS)
        (scored.log_probabilities * torch.linspace(0.5, 1.5, scored.log_probabilities.shape[1])).sum().backward()
        results.append((scored.log_probabilities.detach(), scored.mask, pixels.grad))
    torch.testing.assert_close(results[0], results[1])
    assert results[0][2].abs().max() > 0


def test_nothing_of_the_first_call_is_kept(blip_folder: str) -> None:
    saved: list[tuple[int, ...]] = []

    def pack(tensor: Tensor) -> Tensor:
        saved.append(tuple(tensor.shape))
        return tensor

    captioner = OffloadedCaptioner(BlipCaptioner.load(blip_folder))
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        captioner.log_likelihood(images(), CAPTIONS)
    assert saved == [(2, 3, 32, 32)]


class Travelling(nn.Module):
    """Notes where it is sent."""

    def __init__(self) -> None:
        super().__init__()
        self.journey: list[str] = []

    def to(self, *arguments: object, **settings: object) -> "Travelling":
        self.journey.append(str(arguments[0]))
        return super().to(*arguments, **settings)  # type: ignore[arg-type]


class FakeSegmenter:
    def __init__(self) -> None:
        self.model = Travelling()
        self.networks = {"the model": self.model}

    def segment(self, images: Tensor, nouns: Sequence[Sequence[str]]) -> list[Tensor]:
        if not any(nouns):
            raise ZeroDivisionError
        return [torch.ones(len(of_image), 2, 2, dtype=torch.bool, device=images.device) for of_image in nouns]

    def segment_instances(self, images: Tensor, nouns: Sequence[Sequence[str]]) -> list[list[Tensor]]:
        return [[masks[None] for masks in of_image] for of_image in self.segment(images, nouns)]


def test_a_model_is_on_the_images_device_for_the_call_and_home_again_whatever_happens() -> None:
    segmenter = FakeSegmenter()
    offloaded = OffloadedSegmenter(segmenter)
    assert segmenter.model.journey == ["cpu"]
    masks = offloaded.segment(torch.zeros(1, 3, 2, 2, device="meta"), [["dog"]])
    assert (masks[0].device.type, segmenter.model.journey) == ("meta", ["cpu", "meta", "cpu"])
    ((instances,),) = offloaded.segment_instances(torch.zeros(1, 3, 2, 2, device="meta"), [["dog"]])
    assert (instances.shape, segmenter.model.journey[3:]) == ((1, 2, 2), ["meta", "cpu"])
    with pytest.raises(ZeroDivisionError):
        offloaded.segment(torch.zeros(1, 3, 2, 2, device="meta"), [[]])
    assert segmenter.model.journey[-2:] == ["meta", str(HOME)]


def test_an_offloaded_model_has_the_networks_of_the_model_itself(blip_folder: str, tmp_path: Path) -> None:
    segmenter = ClipSegSegmenter.load(save_tiny_clipseg(tmp_path))
    assert list(OffloadedSegmenter(segmenter).networks.values()) == [segmenter.model]
    captioner = BlipCaptioner.load(blip_folder)
    assert list(OffloadedCaptioner(captioner).networks.values()) == [captioner.model]
