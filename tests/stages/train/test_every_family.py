"""Every family in training: the memory plan lists every part, and a killed run resumes to the same result."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import stages.train.loop as loop_module
from stages.store.artifacts import Artifact
from stages.store.store import Store
from stages.train import TrainConfig, run
from stages.train.memory_plan import ONE_BLOCK, plan_memory
from stages.train.models import load_models, make_trainee
from tests.stages.train.conftest import make_inputs
from tests.tiny_families import TINY_FAMILIES

MakeConfig = Callable[..., TrainConfig]
CPU = torch.device("cpu")


@pytest.mark.parametrize("family", TINY_FAMILIES)
def test_the_memory_plan_lists_every_part(config_of: MakeConfig, family: str) -> None:
    config = config_of(family, hardware={"offload": True, "recompute_blocks": True})
    models = load_models(config, CPU)
    plan = plan_memory(config, models)
    text = {name for name in models.online.networks if name.startswith("text encoder")}
    assert text == {f"text encoder{'' if number == 1 else f' {number}'}" for number in range(1, len(text) + 1)}
    assert set(plan.parameters) == {models.online.denoiser_label, "autoencoder"}
    assert set(plan.visiting) == text | {"captioner", "segmenter"}
    assert set(plan.activations) == {"denoiser, one step", ONE_BLOCK, "decoder", "captioner", "discriminator"}
    assert all(size > 0 for part in (plan.parameters, plan.visiting, plan.activations) for size in part.values())

    networks = [*models.online.networks.values()]
    networks += [network for model in models.helpers.values() for network in model.networks.values()]
    weights = {id(value): value for network in networks for value in network.parameters()}
    trainee = make_trainee(config, models)
    assert trainee.discriminator is not None
    learned = [*trainee.online.parameters.values(), *trainee.discriminator.parameters.values()]
    frozen = [value for identity, value in weights.items() if identity not in {id(one) for one in learned}]
    assert sum(plan.parameters.values()) + sum(plan.visiting.values()) == 4 * sum(value.numel() for value in frozen)
    assert plan.adapters == 4 * sum(value.numel() for value in learned)
    assert plan.optimizers == 2 * plan.adapters
    assert plan.peak > sum(plan.parameters.values()) + 2 * plan.adapters + plan.optimizers


@pytest.mark.slow
@pytest.mark.parametrize("family", ["sd3", "flux dev", "pixart alpha", "sana", "flux2 klein"])
def test_a_killed_training_resumes_to_the_same_result(
    config_of: MakeConfig, inputs: dict[str, Artifact], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, family: str
) -> None:
    config = config_of(family, checkpoints={"every": 1}, tracking={"validation_every": 0, "images_every": 0})
    if family == "flux2 klein":
        inputs = make_inputs(tmp_path / "inputs", (16, 4, 4))  # latents as its transformer packs them
    undisturbed = run(config, inputs, Store(str(tmp_path / "undisturbed")))
    original = loop_module.online_step

    def die_in_the_third_step(training_run: Any, state: Any) -> Any:
        if state.step == 2:
            raise KeyboardInterrupt
        return original(training_run, state)

    disturbed = Store(str(tmp_path / "disturbed"))
    with monkeypatch.context() as patch:
        patch.setattr(loop_module, "online_step", die_in_the_third_step)
        with pytest.raises(KeyboardInterrupt):
            run(config, inputs, disturbed)
    assert run(config, inputs, disturbed).manifest.digest == undisturbed.manifest.digest
