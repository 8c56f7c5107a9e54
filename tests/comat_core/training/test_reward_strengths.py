"""The size of losses' gradients at the images: how it is measured, averaged, and brought to another's."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest
import torch

from comat_core.backbones.adapters import active_adapter
from comat_core.rewards.protocol import WeightedReward
from comat_core.training.reward_strengths import MEMORY, GradientMeter, RewardBalance, RewardStrengths
from comat_core.training.training_step import training_step
from tests.comat_core.training.test_training_step_rewards import Redness
from tests.comat_core.training.training_steps import ModelOf, assert_close, gradients, step_of
from tests.comat_core.training.training_world import CONCEPT_ONLY, make_batch, make_models, make_settings

CPU = torch.device("cpu")


def loss_of(images: torch.Tensor) -> torch.Tensor:
    return (images.flatten(1) ** 2).sum(dim=1).mean()


@pytest.mark.parametrize("scale", [1.0, 1024.0])
def test_the_measure_is_that_of_one_image_whatever_the_loss_is_scaled_and_weighed_by(scale: float) -> None:
    images = torch.rand(3, 3, 4, 4, requires_grad=True)
    meter = GradientMeter({"a": 0.5, "b": 1.0}, CPU)
    losses = {name: loss_of(meter.shown(name, images)) for name in ("a", "b", "c")}
    terms = [weight * meter.scaled(name, losses[name]) for name, weight in (("a", 0.3), ("b", 2.0), ("c", 1.0))]
    (scale * torch.stack(terms).sum()).backward()
    expected = (2 * images.detach()).flatten(1).square().sum(dim=1).mean()
    assert set(meter.squares) == {"a", "b"}
    for square in meter.squares.values():
        torch.testing.assert_close(square, expected)
    # The gradient that arrives is the one of the value that is logged: 0.3 * 0.5 + 2 + 1 times the loss's.
    assert images.grad is not None
    torch.testing.assert_close(images.grad, scale * 3.15 * 2 * images.detach() / 3)
    torch.testing.assert_close(torch.stack(terms).sum(), 3.15 * losses["a"])


def test_the_running_mean_is_plain_at_first_and_forgets_later() -> None:
    strengths = RewardStrengths()
    for square in (1.0, 3.0, 8.0):
        strengths = strengths.after({"a": square})
    assert strengths.mean_squares["a"] == pytest.approx(4.0)
    late = RewardStrengths(steps=5000, mean_squares={"a": 4.0}).after({"a": 0.0})
    assert late.mean_squares["a"] == pytest.approx(4.0 * MEMORY)


def test_factors_bring_one_size_to_the_other_s() -> None:
    strengths = RewardStrengths(steps=9, mean_squares={"concept_activation": 9.0, "reward/a": 4.0, "reward/b": 0.0})
    yardsticks = {"reward/a": "concept_activation", "reward/b": "concept_activation"}
    assert strengths.factors(yardsticks) == {"concept_activation": 1.0, "reward/a": 1.5, "reward/b": 0.0}
    assert RewardStrengths().factors(yardsticks) == {"concept_activation": 1.0, "reward/a": 0.0, "reward/b": 0.0}
    assert RewardStrengths.model_validate_json(strengths.model_dump_json()) == strengths


def test_rewards_of_other_units_train_alike_once_measured(tiny_model: ModelOf) -> None:
    """A reward in units a thousand times as large has the same gradient, value and metrics but its own."""
    models = make_models(tiny_model("sd"))
    batch, settings = make_batch(models), make_settings(CONCEPT_ONLY)
    yardsticks = {"reward/red": "concept_activation"}

    class Scaled(Redness):
        def prepare(self, prompts: Sequence[str], device: torch.device) -> Callable[[torch.Tensor], torch.Tensor]:
            score = super().prepare(prompts, device)
            return lambda images: 1000 * score(images)

    found = []
    for reward in (Redness(), Scaled()):
        rewarded = replace(models, rewards={"red": WeightedReward(reward, 0.5)})
        strengths = RewardStrengths()
        with active_adapter(models.online.denoiser, "online"):
            for _ in range(2):
                factors = strengths.factors(yardsticks)
                output = training_step(rewarded, batch, settings, seed=7, step=0, balance=RewardBalance(factors))
                found.append((output.total.item(), gradients(rewarded, output.total)))
                strengths = strengths.after({name: value.item() for name, value in output.gradient_squares.items()})
    unmeasured = step_of(models, batch, settings)
    assert_close(gradients(models, unmeasured.total), found[0][1])
    assert found[1][0] == pytest.approx(found[3][0], rel=1e-4)
    assert_close(found[1][1], found[3][1])
    assert found[1][0] != pytest.approx(found[0][0], rel=1e-3)


def test_measuring_changes_no_bit_of_what_keeps_its_size(tiny_model: ModelOf) -> None:
    models = replace(make_models(tiny_model("sd")), rewards={"red": WeightedReward(Redness(), 0.5)})
    batch, settings = make_batch(models), make_settings(CONCEPT_ONLY)
    with active_adapter(models.online.denoiser, "online"):
        plain = training_step(models, batch, settings, seed=7, step=0)
        before = gradients(models, plain.total)
        measured = training_step(
            models,
            batch,
            settings,
            seed=7,
            step=0,
            balance=RewardBalance({"concept_activation": 1.0, "reward/red": 1.0}),
        )
        after = gradients(models, measured.total)
    assert plain.total.item() == measured.total.item()
    assert all(torch.equal(one, other) for one, other in zip(before, after, strict=True))
    assert not plain.gradient_squares and all(value > 0 for value in measured.gradient_squares.values())
