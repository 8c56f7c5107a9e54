"""What every image-to-text model offers: how likely it finds a caption, token by token, given an image."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import torch
from torch import Tensor, nn

DEFAULT_PREFIX = "a photography of"
"""The words every caption begins with; they are given to the model, not asked of it."""


@dataclass(frozen=True)
class CaptionLikelihood:
    """The log-likelihood of a batch of captions, log p(w_i | image, w_<i) for each token."""

    log_probabilities: Tensor
    """(B, L) float32, at most 0; exactly 0 outside the mask."""
    mask: Tensor
    """(B, L) booleans: the caption's own tokens and the token that ends it; neither the prefix nor padding."""

    def per_caption(self, reduction: Literal["sum", "mean"] = "sum") -> Tensor:
        """Reduce over the tokens of each caption, to (B,): log p(caption | image), or its mean per counted token."""
        total = self.log_probabilities.sum(dim=1)
        return total if reduction == "sum" else total / self.mask.sum(dim=1).clamp(min=1)


class ImageToText(Protocol):
    """A frozen captioner, C in the paper."""

    @property
    def networks(self) -> Mapping[str, nn.Module]:
        """The networks that it is made of, by name."""
        ...

    def prepare(self, captions: Sequence[str], device: torch.device) -> Callable[[Tensor], CaptionLikelihood]:
        """Lay out B captions, and return what scores them on B images of that device.

        What is returned reads no tensor's value, so that it can be planned on tensors without data.
        """
        ...

    def log_likelihood(self, images: Tensor, captions: Sequence[str]) -> CaptionLikelihood:
        """Score captions[i] on images[i], differentiably with respect to the images.

        Args:
            images: (B, 3, H, W) in [0, 1] at any size; a decoder's values a little outside keep their gradient.
            captions: B texts, without the prefix.
        """
        ...
