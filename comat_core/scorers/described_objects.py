"""The judge of colour-shape pairs as a score of an image and its prompt."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from comat_core.scorers.judge import Judge, score_image

JudgeMetric = Literal["object_accuracy", "attribute_accuracy", "all_right", "exact"]


class DescribedObjectsJudge:
    """One of the `JudgeScore`s, as `comat_core.rewards.Reward` offers scores, but without a gradient.

    A prompt that names no shape scores NaN: the judge can say nothing of it.
    """

    def __init__(self, judge: Judge, metric: JudgeMetric) -> None:
        self.judge = judge
        self.metric = metric

    @property
    def networks(self) -> Mapping[str, nn.Module]:
        """The classifier."""
        return {"judge": self.judge.model}

    def prepare(self, prompts: Sequence[str], device: torch.device) -> Callable[[Tensor], Tensor]:
        """Read from each prompt what its image has to show; see `Reward`."""
        required = [self.judge.vocabulary.required_objects(prompt) for prompt in prompts]

        def score(images: Tensor) -> Tensor:
            probabilities, _ = self.judge.look_at(images)
            scores = [
                getattr(score_image(self.judge.as_pairs(row), wanted), self.metric) if wanted else math.nan
                for row, wanted in zip(probabilities, required, strict=True)
            ]
            return torch.tensor(scores, dtype=torch.float32, device=device)

        return score
