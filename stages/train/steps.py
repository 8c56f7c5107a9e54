"""The two optimiser steps of an iteration, each over its micro-batches."""

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import torch
from accelerate import Accelerator

from comat_core.support.precisions import PRECISIONS
from comat_core.training.training_inputs import CoMatBatch, CoMatModels
from comat_core.training.training_step import StepOutput, discriminator_step, training_step
from stages.train.config import TrainConfig
from stages.train.dataset import TrainingData
from stages.train.state import TrainingState
from stages.train.updates import apply_gradients


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
    config, micro_batches = run.config, []
    for number in _micro_batch_numbers(run, state.step):
        batch = run.training_data.batch(number, config.batch_size, config.pair_batch_size)
        with run.autocast():
            output = training_step(run.models, batch, _settings_now(config, state), seed=config.seed, step=state.step)
        state.scaler.scale(output.total / config.gradient_accumulation).backward()
        output.total = output.total.detach()
        micro_batches.append((batch, output))
    metrics = _averages(run, [output.losses for _, output in micro_batches])
    update = apply_gradients(state.trainee.online, state.scaler, metrics)
    return micro_batches, StepRecord(metrics | {"gradient_norm": update.gradient_norm}, update.nonfinite)


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
