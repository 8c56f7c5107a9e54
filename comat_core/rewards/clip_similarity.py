"""How close a CLIP places an image and its prompt: CLIP itself, and PickScore and HPS, CLIPs trained on choices."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor, nn


class SimilarityScorer(Protocol):
    """A frozen CLIP."""

    @property
    def model(self) -> Any:
        """The network, with its `logit_scale`."""
        ...

    def similarity(self, images: Tensor, texts: Sequence[str]) -> Tensor:
        """The cosine of each image and its text, (B,), differentiably."""
        ...


class ClipSimilarity:
    """r(I, P) = s cos(CLIP(I), CLIP(P)), s the scale that the checkpoint was trained with (100 in the published ones).

    Two images of one prompt are compared by their difference: under PickScore and HPS its sigmoid is the probability
    that people prefer the first.
    """

    def __init__(self, scorer: SimilarityScorer) -> None:
        self.scorer = scorer

    @property
    def networks(self) -> Mapping[str, nn.Module]:
        """The CLIP."""
        return {"clip": self.scorer.model}

    def prepare(self, prompts: Sequence[str], device: torch.device) -> Callable[[Tensor], Tensor]:  # noqa: ARG002
        """Score images of any device against the prompts; see `Reward`."""
        scale = self.scorer.model.logit_scale.detach().float().exp()
        return lambda images: scale.to(images.device) * self.scorer.similarity(images, prompts)
