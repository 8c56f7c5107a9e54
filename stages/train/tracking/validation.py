"""Images of the same prompts from the same noise, every few steps: how the online model changes, at a glance."""

from collections.abc import Sequence

from torch import Tensor

from comat_core.support.randomness import derive_seed
from comat_core.training.training_inputs import CoMatModels
from stages.train.config import TrainConfig
from stages.train.data.dataset import TrainingData
from stages.train.drawing import draw_images

DEFAULT_PROMPTS = 4
"""How many training prompts are taken when the settings name none."""


def validation_prompts(config: TrainConfig, training_data: TrainingData) -> list[str]:
    """The prompts of the settings, or else the first training prompts."""
    chosen = config.tracking.validation_prompts
    return list(chosen) or training_data.first_texts(DEFAULT_PROMPTS)


def draw_validation_images(models: CoMatModels, config: TrainConfig, prompts: Sequence[str]) -> Tensor:
    """Draw one image per prompt with the online model as it is, sampled as in training.

    Returns:
        (len(prompts), 3, H, W) in [0, 1] with tails.
    """
    seeds = [derive_seed(config.seed, "validation", index) for index in range(len(prompts))]
    return draw_images(models, config, prompts, seeds)
