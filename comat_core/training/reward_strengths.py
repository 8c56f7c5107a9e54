"""How hard each reward pulls on the images, and what brings one reward's pull to the size of another's.

A reward acts through its gradient alone, so its gradient is what a weight should be in units of. The mean of its score
has none, and the spread of its scores over prompts does not say how much an image can change them: a CLIP's cosine
differs by hundredths between images and answers to single pixels, a captioner's likelihood differs by whole numbers
between prompts. The images are the last thing that all rewards look at, and everything before them is shared, so the
gradient is measured there. It costs nothing: the backward pass comes by anyway.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from pydantic import BaseModel, ConfigDict
from torch import Tensor

MEMORY = 0.99
"""The share that the running mean keeps of itself from one step to the next, once it has seen a hundred."""


@dataclass(frozen=True)
class RewardBalance:
    """What a step multiplies the rewards' gradients by, beside their weights."""

    factors: Mapping[str, float] = field(default_factory=dict)
    """Concept activation's name or a reward's role -> factor (`RewardStrengths.factors`)."""
    parts: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    """Reward's role -> part -> weight of its term (`QuestionFailures.weights`)."""


def running_means(means: Mapping[str, float], values: Mapping[str, float], steps: int) -> dict[str, float]:
    """The means over `steps` steps and a further one; from a hundred on the past fades."""
    kept = min(steps / (steps + 1), MEMORY)
    return {name: kept * means.get(name, 0.0) + (1 - kept) * value for name, value in values.items()}


class RewardStrengths(BaseModel):
    """Running mean, over a training's steps, of the squared norm of each measured loss's gradient at one image.

    The square's mean and not each step's own norm: batches in which there is more to be done still weigh more.
    """

    model_config = ConfigDict(frozen=True)

    steps: int = 0
    mean_squares: dict[str, float] = {}

    def after(self, squares: Mapping[str, float]) -> "RewardStrengths":
        """The running means after a further step; of the first hundred steps they are plain means.

        Args:
            squares: loss -> mean squared norm over the step's images, of all processes and micro-batches.
        """
        means = running_means(self.mean_squares, squares, self.steps)
        return RewardStrengths(steps=self.steps + 1, mean_squares=means)

    def factors(self, yardsticks: Mapping[str, str]) -> dict[str, float]:
        """Loss -> what its gradient is multiplied by; 1 for the yardsticks, whose own size stays.

        What has never shown a gradient is silent, in the first step that is everything that has a yardstick: its
        size is not known yet.

        Args:
            yardsticks: loss -> the loss whose size its gradient is brought to.
        """
        found = dict.fromkeys(yardsticks.values(), 1.0)
        for name, yardstick in yardsticks.items():
            own, wanted = (self.mean_squares.get(one, 0.0) for one in (name, yardstick))
            found[name] = math.sqrt(wanted / own) if own else 0.0
        return found


class GradientMeter:
    """Measures the gradients of losses at the images in the backward pass, and multiplies them by their factors.

    Args:
        factors: loss -> factor. Losses that are not named are left alone.
    """

    def __init__(self, factors: Mapping[str, float], device: torch.device) -> None:
        self._factors = factors
        self._upstream: dict[str, Tensor] = {}
        self.squares = {name: torch.zeros((), device=device) for name in factors}
        """Loss -> mean squared norm of its gradient at one image, before factor and weight; 0 until the backward
        pass has come by."""

    def shown(self, name: str, images: Tensor) -> Tensor:
        """The images (B, ...) as the loss of that name is to see them."""
        if name not in self._factors:
            return images
        factor, seen = self._factors[name], images.view_as(images)

        def measure(gradient: Tensor) -> Tensor:
            # Over what arrives at the loss: its weight, and the scale that keeps half precision from vanishing.
            of_scores = gradient.float() * len(gradient) / self._upstream.pop(name)
            self.squares[name] = of_scores.flatten(1).square().sum(dim=1).mean()
            return gradient * factor

        seen.register_hook(measure)
        return seen

    def scaled(self, name: str, loss: Tensor) -> Tensor:
        """The mean loss of the images shown, times its factor: by value here, by gradient where it comes to them."""
        if name not in self._factors:
            return loss
        loss.register_hook(lambda upstream: self._upstream.__setitem__(name, upstream))
        return loss + (self._factors[name] - 1) * loss.detach()
