"""Rewards beside concept activation: what they add to the total, and what they are shown."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from comat_core.rewards.protocol import WeightedReward
from comat_core.training.step_settings import LossWeights
from tests.comat_core.training.training_steps import ModelOf, gradients, step_of
from tests.comat_core.training.training_world import (
    CAPTIONS,
    CONCEPT_ONLY,
    PROMPTS,
    make_batch,
    make_models,
    make_settings,
)

ALL_OFF = LossWeights(concept_activation=0, fidelity=0, attribute_region=0, attribute_pixel=0)


class Redness:
    """Scores the mean of the red channel, times the number of words."""

    def __init__(self) -> None:
        self.networks: Mapping[str, nn.Module] = {}
        self.shown: list[tuple[list[str], Tensor]] = []

    def prepare(self, prompts: Sequence[str], device: torch.device) -> Callable[[Tensor], Tensor]:
        words = torch.tensor([float(len(prompt.split())) for prompt in prompts], device=device)

        def score(images: Tensor) -> Tensor:
            self.shown.append((list(prompts), images.detach()))
            return words * images[:, 0].float().mean(dim=(1, 2))

        return score


def test_a_reward_is_weighed_into_the_total_and_logged_without_its_weight(tiny_model: ModelOf) -> None:
    reward = Redness()
    models = replace(make_models(tiny_model("sd")), rewards={"red": WeightedReward(reward, 0.25)})
    losses = step_of(models, make_batch(models), make_settings(CONCEPT_ONLY)).losses
    assert set(losses) == {"concept_activation", "reward/red", "total"}
    assert losses["total"].item() == pytest.approx(
        losses["concept_activation"].item() + 0.25 * losses["reward/red"].item(), rel=1e-6
    )
    (prompts, images), *more = reward.shown
    assert not more and prompts == [*PROMPTS, *CAPTIONS]
    words = torch.tensor([float(len(prompt.split())) for prompt in prompts])
    assert losses["reward/red"].item() == pytest.approx(-(words * images[:, 0].mean(dim=(1, 2))).mean().item())


def test_a_reward_alone_trains_the_online_model(tiny_model: ModelOf) -> None:
    models = replace(make_models(tiny_model("sd")), rewards={"red": WeightedReward(Redness(), 2.0)}, captioner=None)
    output = step_of(models, make_batch(models), make_settings(ALL_OFF))
    assert output.total.item() == pytest.approx(2 * output.losses["reward/red"].item())
    single = replace(models, rewards={"red": WeightedReward(Redness(), 1.0)})
    half = step_of(single, make_batch(models), make_settings(ALL_OFF))
    moved = False
    for whole, part in zip(gradients(models, output.total), gradients(models, half.total), strict=True):
        torch.testing.assert_close(whole, 2 * part)
        moved |= bool(whole.any())
    assert moved


def test_concept_activation_is_what_it_is_without_rewards(tiny_model: ModelOf) -> None:
    models = make_models(tiny_model("sd"))
    rewarded = replace(models, rewards={"red": WeightedReward(Redness(), 1.0)})
    batch, settings = make_batch(models), make_settings(CONCEPT_ONLY)
    without, beside = step_of(models, batch, settings), step_of(rewarded, batch, settings)
    assert beside.losses["concept_activation"].item() == without.losses["concept_activation"].item()
