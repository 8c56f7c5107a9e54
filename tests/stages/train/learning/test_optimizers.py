"""Which optimiser a setting means, with bitsandbytes and without."""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import stages.train.learning.optimizers as optimizers_module
from comat_core.support.errors import UserError
from stages.store.artifacts import Artifact
from stages.store.store import Store
from stages.train import TrainConfig, run
from stages.train.learning.optimizers import OptimizerKind, make_optimizer
from tests.stages.train.killed_runs import run_killed_once

MakeConfig = Callable[..., TrainConfig]


def made(kind: OptimizerKind) -> torch.optim.Optimizer:
    parameters = [torch.nn.Parameter(torch.ones(3))]
    return make_optimizer(kind, parameters, learning_rate=1e-3, betas=(0.0, 0.999), weight_decay=0.1)


@pytest.fixture
def _without_bitsandbytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(optimizers_module, "find_spec", lambda _name: None)


@pytest.mark.usefixtures("_without_bitsandbytes")
def test_without_bitsandbytes_8_bits_are_refused_or_given_up_aloud(
    make_config: MakeConfig, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(UserError, match="8-bit AdamW needs bitsandbytes, which is not installed"):
        made("adamw_8bit")
    with pytest.raises(UserError, match="8-bit AdamW needs bitsandbytes, which is not installed"):
        make_config(optimizer="adamw_8bit").fetch_files()
    with caplog.at_level(logging.INFO, "comat"):
        assert type(made("adamw_8bit_if_installed")) is torch.optim.AdamW
    assert "AdamW's state takes 32 bits: bitsandbytes is not installed" in caplog.text


def test_settings_reach_the_optimiser() -> None:
    (group,) = made("adamw").param_groups
    assert (group["lr"], group["betas"], group["weight_decay"]) == (1e-3, (0.0, 0.999), 0.1)


def test_the_optimiser_is_part_of_the_key(make_config: MakeConfig) -> None:
    assert make_config(optimizer="adamw_8bit").key_payload() != make_config().key_payload()


def test_a_killed_run_with_8_bit_state_resumes_to_the_same_result(
    make_config: MakeConfig, inputs: dict[str, Artifact], tmp_path: Path
) -> None:
    pytest.importorskip("bitsandbytes")
    large_enough = {"rank": 512}  # the state of small tensors stays in 32 bits
    config = make_config(steps=3, optimizer="adamw_8bit", checkpoints={"every": 1}, online=large_enough)
    undisturbed = run(config, inputs, Store(str(tmp_path / "undisturbed")))

    def look(state: Any) -> None:
        assert all(value["state1"].dtype == torch.uint8 for value in state.trainee.online.optimizer.state.values())

    resumed, _ = run_killed_once(config, inputs, Store(str(tmp_path / "disturbed")), in_step=2, look=look)
    assert resumed.manifest.digest == undisturbed.manifest.digest
