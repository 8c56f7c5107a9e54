"""What every reward offers: a score for each image and its prompt, differentiable with respect to the image."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor, nn


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
    """A reward whose score is a sum of terms, each about one kind of thing that a prompt says."""

    @property
    def parts(self) -> Sequence[str]:
        """Names of the K terms."""
        ...

    def prepare_parts(self, prompts: Sequence[str], device: torch.device) -> Callable[[Tensor], Tensor]:
        """As `prepare`; what is returned gives the terms (B, K), whose sums over K are the scores."""
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
    """Term -> its share of the total, detached; nothing of a reward without parts."""


def reward_loss(reward: Reward, images: Tensor, prompts: Sequence[str]) -> RewardLoss:
    """Score images (B, 3, H, W) against B prompts."""
    if not isinstance(reward, PartedReward):
        return RewardLoss(-reward.prepare(prompts, images.device)(images).mean(), {})
    terms = -reward.prepare_parts(prompts, images.device)(images)
    shares = terms.detach().mean(dim=0)
    return RewardLoss(terms.sum(dim=1).mean(), dict(zip(reward.parts, shares, strict=True)))
