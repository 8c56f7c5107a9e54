"""What every reward offers: a score for each image and its prompt, differentiable with respect to the image."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from comat_core.rewards.names import ASKED, FAILED


class Reward(Protocol):
    """Frozen models that score images against their prompts. An image's score does not depend on its neighbours."""

    @property
    def networks(self) -> Mapping[str, nn.Module]:
        """The networks that it is made of, by name."""
        ...

    def prepare(self, prompts: Sequence[str], device: torch.device) -> Callable[[Tensor], Tensor]:
        """Lay out B prompts, and return what scores B images (B, 3, H, W) in [0, 1] of that device.

        What is returned gives (B,) float32, the higher the better, with a graph to the images. It reads no tensor's
        value, so that it can be planned on tensors without data.
        """
        ...


@runtime_checkable
class PartedReward(Reward, Protocol):
    """A reward whose score is a sum of terms, each about the questions of one kind that a prompt raises."""

    @property
    def parts(self) -> Sequence[str]:
        """Names of the K terms."""
        ...

    def prepare_parts(self, prompts: Sequence[str], device: torch.device) -> Callable[[Tensor], Tensor]:
        """As `prepare`; what is returned gives (B, K, 3): terms, whose sums over K are the scores, how many questions
        each is about, and how many of these have the wrong answer. The last two have no gradient.
        """
        ...


@dataclass(frozen=True)
class WeightedReward:
    """A reward and what it weighs in the total loss."""

    reward: Reward
    weight: float
    """At least 0; the loss is the weight times the negative mean score."""

    @property
    def networks(self) -> Mapping[str, nn.Module]:
        """Those of the reward."""
        return self.reward.networks


@dataclass(frozen=True)
class RewardLoss:
    """What a reward makes of a batch."""

    total: Tensor
    """The negative mean score, a scalar to be minimised."""
    parts: Mapping[str, Tensor]
    """Of a reward with parts, detached: part -> its share of the total; part_asked and part_failed -> how many of its
    questions an image has, and how many of these have the wrong answer, on average."""


def reward_loss(
    reward: Reward, images: Tensor, prompts: Sequence[str], part_weights: Mapping[str, float] | None = None
) -> RewardLoss:
    """Score images (B, 3, H, W) against B prompts.

    Args:
        part_weights: part -> what its term is multiplied by; 1 where nothing is said.
    """
    if not isinstance(reward, PartedReward):
        return RewardLoss(-reward.prepare(prompts, images.device)(images).mean(), {})
    found = reward.prepare_parts(prompts, images.device)(images)
    weights = [(part_weights or {}).get(part, 1.0) for part in reward.parts]
    terms = -found[..., 0] * torch.tensor(weights, device=found.device)
    means = torch.stack([terms.detach(), found[..., 1].detach(), found[..., 2].detach()]).mean(dim=1)
    suffixes = ("", ASKED, FAILED)
    parts = {
        f"{part}{suffix}": means[row, column]
        for row, suffix in enumerate(suffixes)
        for column, part in enumerate(reward.parts)
    }
    return RewardLoss(terms.sum(dim=1).mean(), parts)
