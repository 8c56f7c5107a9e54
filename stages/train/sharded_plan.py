"""What a process keeps, gathers and calls of a base that is spread over all of them, for the memory plan."""

from collections.abc import Iterable
from copy import copy
from dataclasses import replace
from typing import Any

from torch import Tensor

from comat_core.backbones.sharding import gathered_bytes, is_sharded, share_bytes, without_weights
from comat_core.support.memory.stored_bytes import stored_bytes
from comat_core.training.training_inputs import CoMatModels
from stages.train.config import TrainConfig


class Shares:
    """The part of each weight that a process keeps: all of it, unless `hardware.shard_base` spreads it.

    Args:
        models: loaded, spread already or not.
    """

    def __init__(self, config: TrainConfig, models: CoMatModels) -> None:
        self._processes = config.processes
        online, networks = models.online, {}
        if config.hardware.shard_base:
            networks = {online.denoiser_label: online.denoiser}
            networks |= {} if config.hardware.offload else online.text_encoders
        self._spread = {
            id(weight) for network in networks.values() for weight in network.parameters() if not weight.requires_grad
        }
        self.gathered = {name: gathered_bytes(network) for name, network in networks.items()}
        """Network -> bytes of its weights that are whole at a time, beside the process's share."""

    def bytes(self, weights: Iterable[Tensor]) -> int:
        """What a process keeps of the weights."""
        return sum(
            share_bytes(weight, self._processes) if id(weight) in self._spread else stored_bytes(weight)
            for weight in weights
        )


def callable_without_others(models: CoMatModels) -> CoMatModels:
    """The models that one process can plan: a denoiser that is spread is replaced by a whole one without data."""
    if not is_sharded(models.online.denoiser):
        return models
    online, discriminator = without_weights(models.online), models.discriminator
    if getattr(discriminator, "model", None) is models.online:
        planned: Any = copy(discriminator)
        planned.model = online
        discriminator = planned
    return replace(models, online=online, discriminator=discriminator)
