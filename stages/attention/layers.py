"""Which attention layers of a base model say where an object is: their maps of nouns against the segmenter's masks."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from statistics import mean
from typing import TYPE_CHECKING, Any, Final

from comat_core.support.errors import UserError
from stages.attention.words import ChosenPrompt
from stages.batches import batches
from stages.images.image_rows import image_seed
from stages.plan.config import ModelReference
from stages.sampling import SamplingConfig, decode_images, sample, sampling_model

if TYPE_CHECKING:
    from torch import Tensor

    from comat_core.backbones.attention_maps import AttentionMaps
    from comat_core.backbones.protocol import Backbone
    from comat_core.segmenters.protocol import Segmenter

EVERY_LAYER: Final = ("*",)
NOUN: Final = "noun"


@dataclass(frozen=True)
class LayerOverlap:
    """How well one layer's maps of nouns point at the objects."""

    layer: str
    average_precision: float
    """Mean over the objects found, in (0, 1]; see `comat_core.metrics.map_overlap`."""
    chance: float
    """What a map that says nothing has: the objects' mean share of the pixels, at the layer's resolution."""
    side: int
    """Positions of the layer's maps, along a side."""
    objects: int
    """That the segmenter found."""
    chosen: bool
    """Whether attribute concentration uses the layer, by the family's own choice."""

    def as_json(self) -> dict[str, Any]:
        """The fields by name."""
        return asdict(self)


def measure_layers(
    config: SamplingConfig, vae: ModelReference | None, segmenter: "Segmenter", prompts: Sequence[ChosenPrompt]
) -> list[LayerOverlap]:
    """Draw the prompts' images with the attention of every layer, and compare, the best layer first.

    Args:
        vae: an autoencoder that replaces the checkpoint's own.

    Raises:
        UserError: the segmenter finds none of the nouns.
    """
    precisions: dict[str, list[tuple[float, float, int]]] = defaultdict(list)
    with sampling_model(config, {}, vae) as model:
        own = set(model.attention_layers())
        for batch in batches(prompts, config.batch_size, "Layers"):
            for layer, found in _of_batch(model, config, segmenter, batch):
                precisions[layer].append(found)
    if not precisions:
        problem = f"the segmenter finds none of the nouns of {len(prompts)} prompts"
        raise UserError(problem, config.base.path, "check models.segmenter, or take more --prompts")
    overlaps = [_averaged(layer, found, layer in own) for layer, found in precisions.items()]
    return sorted(overlaps, key=lambda overlap: -overlap.average_precision)


def _of_batch(
    model: "Backbone", config: SamplingConfig, segmenter: "Segmenter", prompts: Sequence[ChosenPrompt]
) -> Iterator[tuple[str, tuple[float, float, int]]]:
    """(layer, (precision, chance, side)) of every object that the segmenter finds in the prompts' images."""
    import torch

    from comat_core.backbones.attention_maps import CaptureRequest
    from stages.attention.recording import captured_steps

    capture = CaptureRequest(captured_steps(config.sampling.num_inference_steps), layers=EVERY_LAYER)
    seeds = [image_seed(config.seed, prompt.prompt_id, 0) for prompt in prompts]
    with torch.no_grad():
        result = sample(model, config, [prompt.text for prompt in prompts], seeds, capture)
        images = decode_images(model, result.latents)
    nouns = [[word for word in prompt.words if word.role == NOUN] for prompt in prompts]
    masks = segmenter.segment(images, [[word.text for word in words] for words in nouns])
    for row, (words, of_image) in enumerate(zip(nouns, masks, strict=True)):
        for word, mask in zip(words, of_image, strict=True):
            if mask.any():
                yield from _of_object(result.attention_maps, row, word.tokens, mask)


def _of_object(
    steps: "Sequence[AttentionMaps]", row: int, tokens: list[int], mask: "Tensor"
) -> Iterator[tuple[str, tuple[float, float, int]]]:
    import torch

    from comat_core.losses.attribute_concentration import resize_masks
    from comat_core.metrics.map_overlap import average_precision

    for layer in steps[0]:
        attention = torch.stack([step[layer][row][..., tokens].sum(dim=-1) for step in steps]).mean(dim=0)
        height, width = attention.shape
        inside = resize_masks(mask[None, None], height, width).flatten()
        chance = float(inside.float().mean())
        yield layer, (average_precision(attention.flatten(), inside), chance, width)


def _averaged(layer: str, found: Sequence[tuple[float, float, int]], chosen: bool) -> LayerOverlap:
    precisions, chances, sides = zip(*found, strict=True)
    return LayerOverlap(layer, mean(precisions), mean(chances), sides[0], len(found), chosen)
