"""How close a CLIP places an image and its prompt: CLIP itself, and PickScore, which is a CLIP trained on choices."""

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor, nn

from comat_core.scorers.clip_score import ClipScorer


class ClipSimilarity:
    """r(I, P) = s cos(CLIP(I), CLIP(P)), s the scale that the checkpoint was trained with (100 in the published ones).

    Two images of one prompt are compared by their difference: under PickScore its sigmoid is the probability that
    people prefer the first.
    """

    def __init__(self, scorer: ClipScorer) -> None:
        self.scorer = scorer

    @property
    def networks(self) -> Mapping[str, nn.Module]:
        """The CLIP."""
        return {"clip": self.scorer.model}

    def prepare(self, prompts: Sequence[str], device: torch.device) -> Callable[[Tensor], Tensor]:  # noqa: ARG002
        """Score images of any device against the prompts; see `Reward`."""
        scale = self.scorer.model.logit_scale.detach().float().exp()
        return lambda images: scale.to(images.device) * self.scorer.similarity(images, prompts)
