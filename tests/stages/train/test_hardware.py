"""Settings of memory and speed change no result; the memory plan says what a run will need."""

import resource
from collections.abc import Callable
from typing import Any

import pytest
import torch

from benchmarks.peak_memory import peak_bytes
from comat_core.backbones.adapters import active_adapter, lora_parameters
from comat_core.support.memory.offloading import OffloadedCaptioner, OffloadedSegmenter
from comat_core.training.training_step import training_step
from stages.store.artifacts import Artifact
from stages.train import TrainConfig, memory_plan
from stages.train.learning import optimizers
from stages.train.memory_plan import MemoryPlan, describe_peak, plan_memory
from stages.train.models import ADAPTER_NAME, load_models, make_trainee
from tests.stages.train.batches import first_batch

MakeConfig = Callable[..., TrainConfig]
CPU = torch.device("cpu")


def gradients(config: TrainConfig, inputs: dict[str, Artifact]) -> list[torch.Tensor]:
    """Of the online model's LoRA, after one micro-batch."""
    models = load_models(config, CPU)
    parameters = make_trainee(config, models).online.parameters.values()
    batch = first_batch(config, inputs)
    with active_adapter(models.online.denoiser, ADAPTER_NAME):
        training_step(models, batch, config, seed=config.seed, step=0).total.backward()
    return [parameter.grad for parameter in parameters if parameter.grad is not None]


@pytest.mark.parametrize(
    "hardware", [{"channels_last": True}, {"offload": True}, {"compile_backend": "eager"}, {"recompute_blocks": True}]
)
def test_no_hardware_setting_changes_gradients_or_key(
    make_config: MakeConfig, inputs: dict[str, Artifact], hardware: dict[str, Any]
) -> None:
    plain, special = make_config(), make_config(hardware=hardware)
    assert plain.key_payload() == special.key_payload()
    expected = gradients(plain, inputs)
    assert max(gradient.abs().max() for gradient in expected) > 0
    torch.testing.assert_close(gradients(special, inputs), expected, atol=1e-5, rtol=1e-3)


def test_settings_reach_the_models(make_config: MakeConfig) -> None:
    models = load_models(make_config(hardware={"channels_last": True, "offload": True}), CPU)
    assert isinstance(models.captioner, OffloadedCaptioner)
    assert isinstance(models.segmenter, OffloadedSegmenter)
    for model in (models.online.denoiser, models.online.vae.decoder):
        assert model.conv_in.weight.is_contiguous(memory_format=torch.channels_last)


def test_the_plan_counts_every_weight_and_names_what_three_networks_would_take(make_config: MakeConfig) -> None:
    config = make_config()
    models = load_models(config, CPU)
    plan = plan_memory(config, models)
    trainee = make_trainee(config, models)
    assert trainee.discriminator is not None
    learned = [*trainee.online.parameters.values(), *trainee.discriminator.parameters.values()]
    assert plan.adapters == 4 * sum(parameter.numel() for parameter in learned)
    assert plan.optimizers == 2 * plan.adapters
    assert plan.parameters["captioner"] == 4 * sum(p.numel() for p in models.captioner.model.parameters())  # type: ignore[union-attr]
    assert plan.three_roles == (plan.parameters["UNet"] + plan.adapters, 3 * plan.parameters["UNet"] + plan.adapters)
    assert set(plan.activations) == {"denoiser, one step", "decoder", "captioner", "discriminator"}
    assert "online, reference and discriminator" in str(plan)


def test_the_measured_peak_is_the_most_that_the_process_has_used(monkeypatch: pytest.MonkeyPatch) -> None:
    expected = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    assert expected <= memory_plan.peak_bytes(CPU) < 1.1 * expected
    monkeypatch.setattr(memory_plan, "peak_bytes", lambda _device: 3 * 2**29)
    assert describe_peak(CPU) == "Measured peak: 1.50 GiB of this process, libraries included"


def test_the_peak_is_what_is_resident_and_the_fullest_moment_of_a_step(make_config: MakeConfig) -> None:
    def plan(**changes: Any) -> MemoryPlan:
        config = make_config(sampling={"gradient_steps": 2}, **changes)
        return plan_memory(config, load_models(config, CPU))

    def fullest(plan: MemoryPlan) -> int:
        return plan.peak - sum(plan.parameters.values()) - 2 * plan.adapters - plan.optimizers

    plain, kept, one_by_one, fewer = (
        plan(checkpoint_denoiser=True),
        plan(checkpoint_denoiser=False),
        plan(checkpoint_decoder=True),
        plan(batch_size=1),
    )
    unet, decoder, captioner, discriminator = plain.activations.values()
    assert fullest(plain) == max(decoder + captioner, unet, discriminator)
    assert fullest(kept) == 2 * unet + discriminator // 2 + decoder + captioner
    assert 3 * one_by_one.activations["decoder"] == decoder, "of two prompts and a real image, one at a time"
    assert 3 * fewer.activations["decoder"] == 2 * decoder
    assert fullest(fewer) < fullest(plain)


@pytest.mark.parametrize("installed", [False, True])
def test_the_optimisers_state_is_counted_as_it_will_be_kept(
    make_config: MakeConfig, monkeypatch: pytest.MonkeyPatch, installed: bool
) -> None:
    monkeypatch.setattr(optimizers, "find_spec", lambda _name: object() if installed else None)
    large_enough = {"rank": 512}  # the state of small tensors stays in 32 bits
    plain, in_8_bits = (
        make_config(optimizer=kind, online=large_enough) for kind in ("adamw", "adamw_8bit_if_installed")
    )
    models = load_models(plain, CPU)
    expected, plan = plan_memory(plain, models), plan_memory(in_8_bits, models)
    assert expected.optimizers == 2 * expected.adapters
    saved = (
        6 * sum(value.numel() for value in lora_parameters(models.online.denoiser, ADAPTER_NAME)) if installed else 0
    )
    assert plan.optimizers == expected.optimizers - saved
    assert plan.peak == expected.peak - saved


@pytest.mark.parametrize(
    ("kind", "installed", "state"),
    [
        ("adamw", True, 8 * 5000 + 8 * 100),
        ("adamw_8bit", True, 2 * 5000 + 8 * 100),
        ("adamw_8bit_if_installed", True, 2 * 5000 + 8 * 100),
        ("adamw_8bit_if_installed", False, 8 * 5000 + 8 * 100),
    ],
)
def test_eight_bits_are_counted_where_bitsandbytes_is_installed_and_for_large_weights(
    monkeypatch: pytest.MonkeyPatch, kind: optimizers.OptimizerKind, installed: bool, state: int
) -> None:
    monkeypatch.setattr(optimizers, "find_spec", lambda _name: object() if installed else None)
    assert optimizers.state_bytes(kind, [torch.zeros(50, 100), torch.zeros(100)]) == state


def test_the_planned_peak_is_near_the_measured_one(make_config: MakeConfig, inputs: dict[str, Artifact]) -> None:
    config = make_config(checkpoint_denoiser=False, batch_size=4, pair_batch_size=2)
    models = load_models(config, CPU)
    plan = plan_memory(config, models)
    batch = first_batch(config, inputs)

    def step() -> None:
        with active_adapter(models.online.denoiser, ADAPTER_NAME):
            training_step(models, batch, config, seed=config.seed, step=0).total.backward()

    step()
    planned = plan.peak - sum(plan.parameters.values()) - 2 * plan.adapters - plan.optimizers
    assert planned == pytest.approx(peak_bytes(step), rel=0.5)
