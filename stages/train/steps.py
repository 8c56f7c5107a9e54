"""The two optimiser steps of an iteration, each over its micro-batches."""

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import torch
from accelerate import Accelerator

from comat_core.support.precisions import PRECISIONS
from comat_core.support.randomness import make_generator
from comat_core.training.reward_strengths import RewardBalance
from comat_core.training.training_inputs import CoMatBatch, CoMatModels
from comat_core.training.training_step import StepOutput, discriminator_step, training_step
from stages.train.config import TrainConfig
from stages.train.data.dataset import TrainingData
from stages.train.learning.objectives import SeparateGradients
from stages.train.learning.state import TrainingState
from stages.train.learning.updates import apply_gradients


@dataclass(frozen=True)
class Run:
    """What stays the same over a training run."""

    config: TrainConfig
    models: CoMatModels
    training_data: TrainingData
    accelerator: Accelerator

    def autocast(self) -> AbstractContextManager[object]:
        """Half precision for the operations that bear it, if the config asks for that."""
        if self.config.precision == "fp32":
            return nullcontext()
        return torch.autocast(self.accelerator.device.type, PRECISIONS[self.config.precision])


@dataclass
class StepRecord:
    """What one optimiser step reports."""

    metrics: dict[str, float]
    nonfinite: tuple[str, ...]
    """Losses and gradients that were not finite; the step was skipped if there is any."""


MicroBatches = list[tuple[CoMatBatch, StepOutput]]


def online_step(run: Run, state: TrainingState) -> tuple[MicroBatches, StepRecord]:
    """Steps 1 to 8 of Algorithm 1 for each micro-batch, then the online model's update."""
    config, micro_batches, online = run.config, [], state.trainee.online
    balance = balance_now(config, state)
    apart = SeparateGradients(online.parameters, config.rewarded) if config.conflicting_rewards == "project" else None

    def scale(loss: torch.Tensor) -> torch.Tensor:
        return state.scaler.scale(loss / config.gradient_accumulation)

    for number in _micro_batch_numbers(run, state.step):
        batch = run.training_data.batch(number, config.batch_size, config.pair_batch_size)
        with run.autocast():
            settings = _settings_now(config, state)
            output = training_step(run.models, batch, settings, seed=config.seed, step=state.step, balance=balance)
        if apart is None:
            scale(output.total).backward()
        else:
            apart.walk_back(output.terms, scale)
        output.total, output.terms = output.total.detach(), {}
        micro_batches.append((batch, output))
    metrics = _averages(run, [output.losses for _, output in micro_batches])
    conflicts = {}
    if apart is not None:
        conflicts["conflicts"] = apart.put_in_projected(make_generator(config.seed, "projection order", state.step))
    update = apply_gradients(online, state.scaler, metrics)
    metrics |= {"gradient_norm": update.gradient_norm, **conflicts}
    if state.strengths is not None:
        squares = _averages(run, [output.gradient_squares for _, output in micro_batches])
        metrics |= strength_metrics(squares, balance.factors)
        if not update.nonfinite:
            state.strengths = state.strengths.after(squares)
    if state.failures is not None and not update.nonfinite:
        state.failures = state.failures.after(metrics, config.weighed_by_failures)
    return micro_batches, StepRecord(metrics, update.nonfinite)


def balance_now(config: TrainConfig, state: TrainingState) -> RewardBalance:
    """What the steps before this one have shown of the rewards."""
    factors, failures = {}, state.failures
    if state.strengths is not None:
        factors = state.strengths.factors(config.yardsticks)
    parts = {} if failures is None else {role: failures.weights(role) for role in config.weighed_by_failures}
    return RewardBalance(factors, parts)


def strength_metrics(squares: Mapping[str, float], factors: Mapping[str, float]) -> dict[str, float]:
    """What is logged of the measured losses: their gradients' size at one image, and what it was multiplied by."""
    sizes = {f"strength/{name}": square**0.5 for name, square in squares.items()}
    return sizes | {f"factor/{name}": factor for name, factor in factors.items()}


def discriminator_update(run: Run, state: TrainingState, micro_batches: MicroBatches) -> StepRecord:
    """The discriminator's update, on what the online model has just made; nothing if there is no discriminator."""
    learner = state.trainee.discriminator
    if learner is None:
        return StepRecord({}, ())
    results = []
    for batch, output in micro_batches:
        with run.autocast():
            scored = discriminator_step(run.models, batch, output, run.config)
        state.scaler.scale(scored.loss / run.config.gradient_accumulation).backward()
        results.append({"discriminator_loss": scored.loss.detach(), "discriminator_accuracy": scored.accuracy.detach()})
    metrics = _averages(run, results)
    update = apply_gradients(learner, state.scaler, metrics)
    return StepRecord(metrics | {"discriminator_gradient_norm": update.gradient_norm}, update.nonfinite)


def _settings_now(config: TrainConfig, state: TrainingState) -> TrainConfig:
    """The settings, with the weight of fidelity where the brake has steered it."""
    if state.brake is None or state.brake.fidelity_weight == config.weights.fidelity:
        return config
    weights = config.weights.model_copy(update={"fidelity": state.brake.fidelity_weight})
    return config.model_copy(update={"weights": weights})


def _micro_batch_numbers(run: Run, step: int) -> range:
    """Numbers of this process's micro-batches, so that all processes together go through the data once."""
    per_process = run.config.gradient_accumulation
    first = (step * run.accelerator.num_processes + run.accelerator.process_index) * per_process
    return range(first, first + per_process)


def _averages(run: Run, results: list[dict[str, torch.Tensor]]) -> dict[str, float]:
    """Mean of each value over micro-batches and processes."""
    names = sorted(results[0])
    values = torch.stack([torch.stack([result[name].float() for name in names]) for result in results]).mean(dim=0)
    reduced = run.accelerator.reduce(values, reduction="mean")
    assert isinstance(reduced, torch.Tensor)
    return dict(zip(names, reduced.tolist(), strict=True))
