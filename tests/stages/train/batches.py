"""Micro-batches of training, for tests that take a step of their own."""

import tempfile
from collections.abc import Mapping
from pathlib import Path

from comat_core.training.training_inputs import CoMatBatch
from stages.store.artifacts import Artifact
from stages.train import TrainConfig
from stages.train.data.dataset import TrainingData, prepared


def first_batch(config: TrainConfig, inputs: Mapping[str, Artifact]) -> CoMatBatch:
    """The batch that a training of one process begins with."""
    with tempfile.TemporaryDirectory() as name, prepared(inputs, Path(name) / "data"):
        data = TrainingData(inputs, Path(name) / "data", seed=config.seed)
        return data.batch(0, config.batch_size, config.pair_batch_size)
