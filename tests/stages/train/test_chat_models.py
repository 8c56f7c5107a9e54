"""A chat model as captioner and reward of a training: planned, and trained with."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from stages.store.artifacts import Artifact
from stages.store.store import Store
from stages.train import TrainConfig
from stages.train.memory_plan import plan_memory
from stages.train.models import load_models
from tests.stages.train.run_stage import run
from tests.tiny_chat_models import SAVERS

CPU = torch.device("cpu")


@pytest.mark.parametrize("kind", SAVERS)
def test_it_is_planned_and_trained_with(
    kind: str, make_config: Callable[..., TrainConfig], inputs: dict[str, Artifact], tmp_path: Path
) -> None:
    folder = SAVERS[kind](tmp_path / kind)
    config = make_config(
        steps=2,
        captioner={"path": folder},
        captioning={"kind": kind},
        rewards={"shown": {"kind": "yes_to_prompt", "model": folder, "chat": kind}},
    )
    plan = plan_memory(config, load_models(config, CPU))
    assert plan.parameters["captioner"] == plan.parameters["reward/shown"] > 0
    assert plan.activations["captioner"] > 0 and plan.activations["reward/shown"] > 0
    trained = run(config, inputs, Store(str(tmp_path / "store")))
    first, second = trained.read_table("metrics.parquet").to_pylist()
    assert first["concept_activation"] != second["concept_activation"]
    assert first["reward/shown"] != second["reward/shown"]
