"""A captioner as a judge: how likely it finds the prompt as the image's caption."""

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor, nn

from comat_core.captioners.protocol import ImageToText


class CaptionLikelihoodJudge:
    """Mean log p per token of the prompt, as `comat_core.rewards.Reward` offers scores."""

    def __init__(self, captioner: ImageToText) -> None:
        self.captioner = captioner

    @property
    def networks(self) -> Mapping[str, nn.Module]:
        """Those of the captioner."""
        return self.captioner.networks

    def prepare(self, prompts: Sequence[str], device: torch.device) -> Callable[[Tensor], Tensor]:
        """Lay out the captions; see `Reward`."""
        score = self.captioner.prepare(prompts, device)
        return lambda images: score(images).per_caption("mean")
