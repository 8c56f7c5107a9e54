"""Images drawn with their cross-attention: which pixels look at which words, as in the paper's figures 2 and 5."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from stages.attention.words import Word
from stages.images.png import encode_png
from stages.sampling import SamplingConfig, decode_images, sample

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

    from comat_core.backbones.protocol import Backbone
    from comat_core.sampling.denoising import StepCallback

CAPTURED_STEPS: Final = 10
SIDE: Final = 192  # pixels of a map


@dataclass(frozen=True)
class Recording:
    """One model's image of a prompt, with where it looked.

    Attributes:
        png: the image.
        maps: one per word, (SIDE, SIDE): the share of each pixel's attention that goes to the word, in [0, 1], averaged
            over the layers that attribute concentration looks at and over the captured steps.
        activations: one per token of the text axis: the token's share of the attention, averaged over pixels too.
    """

    png: bytes
    maps: "list[NDArray[np.float32]]"
    activations: list[float]


def captured_steps(num_inference_steps: int) -> list[int]:
    """At most CAPTURED_STEPS step indices, evenly spread over the sampling."""
    count = min(CAPTURED_STEPS, num_inference_steps)
    return sorted({index * num_inference_steps // count for index in range(count)})


def record(
    model: "Backbone",
    sampling: SamplingConfig,
    texts: Sequence[str],
    seeds: Sequence[int],
    words: Sequence[Sequence[Word]],
    callback: "StepCallback | None" = None,
) -> list[Recording]:
    """Draw one image of each prompt along the trajectory of its seed and record its attention.

    Args:
        texts: B prompts.
        seeds: B trajectory seeds.
        words: of each prompt, those whose maps are wanted.
        callback: called after every step of the sampling.
    """
    import torch

    from comat_core.backbones.attention_maps import CaptureRequest

    capture = CaptureRequest(captured_steps(sampling.sampling.num_inference_steps))
    with torch.no_grad():
        result = sample(model, sampling, texts, seeds, capture, callback)
        images = decode_images(model, result.latents)
    layers = [layer for step in result.attention_maps for layer in step.values()]
    return [_recording(images[row], [layer[row] for layer in layers], of_prompt) for row, of_prompt in enumerate(words)]


def _recording(image: "Tensor", layers: "list[Tensor]", words: Sequence[Word]) -> Recording:
    maps = [heat_map(layers, word.tokens) for word in words]
    return Recording(encode_png(image), maps, token_activations(layers))


def heat_map(layers: "list[Tensor]", tokens: list[int]) -> "NDArray[np.float32]":
    """Average one image's attention to some tokens over layers and steps.

    Args:
        layers: maps (h, w, tokens) of any sizes, probabilities over tokens.
        tokens: positions whose attention is added up.

    Returns:
        (SIDE, SIDE), in [0, 1].
    """
    import torch
    from torch.nn import functional

    maps = [layer[..., tokens].sum(dim=-1)[None, None].float() for layer in layers]
    enlarged = [functional.interpolate(one, (SIDE, SIDE), mode="bilinear", align_corners=False) for one in maps]
    return torch.cat(enlarged).mean(dim=0)[0].clamp(0, 1).cpu().numpy()


def token_activations(layers: "list[Tensor]") -> list[float]:
    """Average one image's attention to each token over pixels, layers and steps; the values sum to 1 at most.

    Args:
        layers: maps (h, w, tokens) of any sizes, probabilities over tokens.
    """
    import torch

    return torch.stack([layer.float().mean(dim=(0, 1)) for layer in layers]).mean(dim=0).cpu().tolist()
