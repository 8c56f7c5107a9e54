"""The judges and the feature extractors of a brake, loaded, and what they say of a batch of images."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from comat_core.rewards.protocol import Reward
from comat_core.support.memory.offloading import OffloadedNetwork, OffloadedReward
from comat_core.support.precisions import PRECISIONS
from stages.evaluate.scoring.images.feature_extractors import Extractor, extract
from stages.evaluate.scoring.models_in_memory import forget
from stages.models.rewards import RewardSurroundings
from stages.train.brake.settings import BrakeSettings
from stages.train.config import TrainConfig


@dataclass(frozen=True)
class Bench:
    """Everything frozen that looks at validation images."""

    judges: Mapping[str, Reward]
    extractors: Mapping[str, Extractor]

    @property
    def networks(self) -> dict[str, list[nn.Module]]:
        """Role -> the networks that it is made of."""
        found = {f"judge {name}": [*judge.networks.values()] for name, judge in self.judges.items()}
        for name, extractor in self.extractors.items():
            if isinstance(extractor.network, nn.Module):
                found[f"features {name}"] = [extractor.network]
            elif isinstance(extractor.network, OffloadedNetwork):
                found[f"features {name}"] = [extractor.network.network]
        return found

    def scores_of(self, images: Tensor, prompts: Sequence[str]) -> dict[str, Tensor]:
        """Scores (B,) of images (B, 3, H, W) of bytes by every judge; NaN where it can say nothing."""
        pixels = images.float() / 255
        return {name: judge.prepare(prompts, images.device)(pixels).float() for name, judge in self.judges.items()}

    def features_of(self, images: Tensor) -> dict[str, Tensor]:
        """Features (B, n, D) of images (B, 3, H, W) of bytes by every extractor."""
        found = extract(list(self.extractors.values()), images) if self.extractors else []
        return dict(zip(self.extractors, found, strict=True))


def load_bench(config: TrainConfig, brake: BrakeSettings, device: torch.device) -> Bench:
    """Load what judges, as the training's other frozen models are loaded.

    Raises:
        UserError: a checkpoint is missing, or is none of that kind.
    """
    beside = RewardSurroundings(None, PRECISIONS[config.precision], device)
    judges: dict[str, Reward] = {name: judge.load(beside) for name, judge in brake.judges.items()}
    extractors = {name: features.load(str(device)) for name, features in brake.distances.items()}
    if config.hardware.offload:
        judges = {name: OffloadedReward(judge) for name, judge in judges.items()}
        extractors = _offloaded(extractors)
    return Bench(judges, extractors)


def _offloaded(extractors: Mapping[str, Extractor]) -> dict[str, Extractor]:
    """The same, each network at home between its calls; those that share one still do."""
    homes: dict[int, OffloadedNetwork] = {}
    for extractor in extractors.values():
        assert isinstance(extractor.network, nn.Module)
        forget(extractor.network)
        homes.setdefault(id(extractor.network), OffloadedNetwork(extractor.network))
    return {name: Extractor(homes[id(one.network)], one.items) for name, one in extractors.items()}
