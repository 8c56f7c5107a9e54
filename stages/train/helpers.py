"""The models that stand beside the online one in a training: which of them it has, and what each is made from."""

from collections.abc import Iterator
from dataclasses import dataclass

from comat_core.rewards.names import reward_role
from stages.models.model_references import named_models
from stages.models.variants import Variant
from stages.plan.config import ModelReference
from stages.train.config import TrainConfig


@dataclass(frozen=True)
class Helper:
    """A model in its role."""

    role: str
    settings: Variant
    references: tuple[ModelReference, ...]
    """Its checkpoints; none if it stands on the base model's."""


def judges_of(config: TrainConfig) -> Iterator[Helper]:
    """Those that no loss looks at: the brake's."""
    if config.brake is not None:
        named: list[tuple[str, Variant]] = [(f"judge {name}", one) for name, one in config.brake.judges.items()]
        named += [(f"features {name}", one) for name, one in config.brake.distances.items()]
        for role, settings in named:
            yield Helper(role, settings, tuple(_checkpoints(settings, role)))


def helpers_of(config: TrainConfig) -> Iterator[Helper]:
    """Those that the weights call for."""
    weights = config.weights
    roles: list[tuple[str, float, ModelReference | None, Variant]] = [
        ("captioner", weights.concept_activation, config.captioner, config.captioning),
        ("segmenter", weights.attribute_concentration, config.segmenter, config.segmentation),
        ("discriminator", weights.fidelity, None, config.discriminator.network),
    ]
    for name, reward in config.rewards.items():
        asked = config.captioner if reward.needs_captioner else None
        roles.append((reward_role(name), reward.weight, asked, reward))
    for role, weight, checkpoint, settings in roles:
        if weight:
            own = _checkpoints(settings, role)
            yield Helper(role, settings, tuple(([checkpoint] if checkpoint else []) + own))


def _checkpoints(settings: Variant, role: str) -> list[ModelReference]:
    found = (named.reference for named in named_models(settings, role))
    return [reference for reference in found if isinstance(reference, ModelReference)]
