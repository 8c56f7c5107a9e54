"""What one training step works with, beside its settings: the models and a batch."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from torch import Tensor

from comat_core.backbones.protocol import Backbone
from comat_core.backbones.text.conditioning import Conditioning
from comat_core.captioners.protocol import ImageToText
from comat_core.discriminators.protocol import Discriminator
from comat_core.losses.attribute_concentration import EntityTokens
from comat_core.rewards.names import reward_role
from comat_core.rewards.protocol import WeightedReward
from comat_core.sampling.schedulers import Scheduler
from comat_core.segmenters.protocol import InstanceSegmenter


@dataclass
class CoMatModels:
    """The models of Algorithm 1. The reference model e_pre is not among them: its latents come with the batch."""

    online: Backbone
    """e_theta, with its trainable adapter active."""
    scheduler: Scheduler
    """What training samples with."""
    unconditional: Conditioning
    """One row, what guidance leads away from: `online.encode_unconditional(1, resolution)`."""
    captioner: ImageToText | None = None
    """C; needed while the weight of concept activation is not 0."""
    discriminator: Discriminator | None = None
    """D; needed while the weight of fidelity is not 0."""
    segmenter: InstanceSegmenter | None = None
    """S; needed while a weight of attribute concentration is not 0."""
    rewards: Mapping[str, WeightedReward] = field(default_factory=dict)
    """Name -> what is rewarded beside concept activation."""

    @property
    def helpers(self) -> dict[str, ImageToText | Discriminator | InstanceSegmenter | WeightedReward]:
        """Role -> model, of those that stand beside the online model."""
        found = {"discriminator": self.discriminator, "captioner": self.captioner, "segmenter": self.segmenter}
        rewards = {reward_role(name): reward for name, reward in self.rewards.items()}
        return {role: model for role, model in found.items() if model is not None} | rewards


@dataclass
class CoMatBatch:
    """B prompts and G real images with their captions."""

    prompts: Sequence[str]
    """P: B texts."""
    trajectory_seeds: Sequence[int]
    """B seeds, one per prompt, that the reference latents were sampled from."""
    entities: Sequence[Sequence[EntityTokens]] = ()
    """The entities of each of the B prompts."""
    reference_latents: Tensor | None = None
    """z^_0: (B, C, h, w), the reference model's result on the same trajectories."""
    states: Mapping[int, Tensor] = field(default_factory=dict)
    """Step -> what the reference model began it with on these trajectories: (B, C, h, w)."""
    pair_ids: Sequence[str | int] = ()
    """G identities, for the pairs' random numbers."""
    pair_captions: Sequence[str] = ()
    """P_g: G texts."""
    pair_latents: Tensor | None = None
    """VAE(I_g): (G, C, h, w), latents of real images in the denoiser's scale."""
