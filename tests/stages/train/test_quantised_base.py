"""LoRA on a base whose large networks are kept in 8-bit integers: it trains, resumes, and takes less memory."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from diffusers import FluxPipeline, FluxTransformer2DModel
from torch import nn
from transformers import T5EncoderModel

import comat_core.backbones.quantisation as quantisation_module
from benchmarks.full_size_planned import quantise_without_data
from comat_core.backbones.loading import load_backbone
from comat_core.backbones.quantisation import Quantisation
from comat_core.support.errors import UserError
from comat_core.support.memory.activation_memory import without_data
from comat_core.support.memory.stored_bytes import stored_bytes, stored_parts
from comat_core.support.precisions import made_in
from stages.plan.pipeline import fetch_files, make_plan
from stages.plan.presets import load_preset
from stages.store.artifacts import Artifact
from stages.store.store import Store
from stages.train import TrainConfig, run
from stages.train.memory_plan import plan_memory
from stages.train.models import load_models
from tests.stages.train.killed_runs import run_killed_once

MakeConfig = Callable[..., TrainConfig]
CPU = torch.device("cpu")
IN_8_BITS = {"kind": "torchao"}


@pytest.fixture
def bf16_config_of(config_of: MakeConfig) -> MakeConfig:
    """In the precision that torchao asks for."""
    return lambda family, **changes: config_of(family, precision="bf16", **changes)


def quantised_layers(network: nn.Module) -> list[str]:
    return [name for name, value in network.named_parameters() if hasattr(value, "__tensor_flatten__")]


@pytest.mark.parametrize("family", ["sd", "sd3", "flux dev", "pixart alpha"])
def test_predictions_are_nearly_those_of_the_whole_base(family_folder: Callable[[str], Path], family: str) -> None:
    pytest.importorskip("torchao")
    torch.manual_seed(0)
    predicted = []
    for quantisation in (None, Quantisation(kind="torchao")):
        model = load_backbone(family_folder(family), dtype=torch.bfloat16, quantisation=quantisation)
        assert model.dtype == torch.bfloat16
        assert bool(quantised_layers(model.denoiser)) == (quantisation is not None)
        side = model.latent_size(32)
        latents = torch.linspace(-2, 2, model.latent_channels * side**2).view(1, -1, side, side)
        predicted.append(model.predict(latents, torch.tensor(500), model.encode_prompts(["a red circle"], 32)))
    whole, quantised = predicted
    difference = (whole - quantised).norm() / whole.norm()
    assert 0 < difference < 0.05


def test_clips_and_if_asked_all_text_encoders_stay_whole(family_folder: Callable[[str], Path]) -> None:
    pytest.importorskip("torchao")
    for text_encoders in (True, False):
        asked = Quantisation(kind="torchao", text_encoders=text_encoders)
        pipeline = load_backbone(family_folder("sd3"), dtype=torch.bfloat16, quantisation=asked).pipeline
        assert not quantised_layers(pipeline.text_encoder)
        assert not quantised_layers(pipeline.text_encoder_2)
        assert bool(quantised_layers(pipeline.text_encoder_3)) == text_encoders


@pytest.mark.slow
def test_a_killed_training_resumes_to_the_same_result(
    bf16_config_of: MakeConfig, inputs: dict[str, Artifact], tmp_path: Path
) -> None:
    pytest.importorskip("torchao")
    config = bf16_config_of("sd3", base_quantisation=IN_8_BITS, checkpoints={"every": 1})
    undisturbed = run(config, inputs, Store(str(tmp_path / "undisturbed")))
    resumed, _ = run_killed_once(config, inputs, Store(str(tmp_path / "disturbed")), in_step=2)
    assert resumed.manifest.digest == undisturbed.manifest.digest


@pytest.mark.slow
@pytest.mark.parametrize("family", ["sd3", "flux dev", "pixart alpha"])
def test_the_plan_counts_a_byte_for_each_quantised_weight(bf16_config_of: MakeConfig, family: str) -> None:
    pytest.importorskip("torchao")
    whole, quantised = bf16_config_of(family), bf16_config_of(family, base_quantisation=IN_8_BITS)
    models = load_models(quantised, CPU)
    plan, expected = plan_memory(quantised, models), plan_memory(whole, load_models(whole, CPU))
    values = [value for value in models.online.denoiser.parameters() if hasattr(value, "__tensor_flatten__")]
    saved = sum(2 * value.numel() - stored_bytes(value) for value in values)
    assert 0 < saved < sum(value.numel() for value in values), "a byte for each, and the rows' scales"
    assert plan.parameters["transformer"] == expected.parameters["transformer"] - saved
    assert plan.adapters == expected.adapters


def test_a_plan_without_data_is_that_of_the_really_quantised_base(
    bf16_config_of: MakeConfig, family_folder: Callable[[str], Path]
) -> None:
    """Of FLUX: in torchao's integers as `load_models` makes them and without data, each beside its real storages."""
    pytest.importorskip("torchao")
    config = bf16_config_of("flux dev", base_quantisation=IN_8_BITS, hardware={"recompute_blocks": True})
    real = load_models(config, CPU)
    plan = plan_memory(config, real)
    learned = {id(value) for value in real.online.denoiser.parameters() if value.requires_grad}
    for name in ("transformer", "text encoder 2"):
        parameters = [value for value in real.online.networks[name].parameters() if id(value) not in learned]
        parts = [part for value in parameters for part in stored_parts(value.data)]
        assert plan.parameters[name] == sum(part.untyped_storage().nbytes() for part in parts)
    online = FluxPipeline.from_pretrained(family_folder("flux dev"), dtype=torch.bfloat16)
    with without_data(), made_in(torch.bfloat16):
        networks = [
            FluxTransformer2DModel.from_config(online.transformer.config),
            T5EncoderModel(online.text_encoder_2.config),
        ]
    for network, name in zip(networks, ("transformer", "text encoder 2"), strict=True):
        quantise_without_data(network, Quantisation(kind="torchao"))
        planned = sum(map(stored_bytes, network.parameters()))
        assert planned == pytest.approx(plan.parameters[name], rel=0.02)


def test_it_is_part_of_the_key_only_if_asked_for(make_config: MakeConfig) -> None:
    assert "base_quantisation" not in make_config().key_payload()
    asked = make_config(base_quantisation=IN_8_BITS)
    assert asked.key_payload()["base_quantisation"] == {"kind": "torchao", "text_encoders": True}


def test_a_run_that_lacks_a_package_ends_before_its_first_stage(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(quantisation_module, "find_spec", lambda _name: None)
    settings = ["train.base_quantisation={kind: torchao}", "train.precision=bf16", f"train.tracking.folder={tmp_path}"]
    plan = make_plan(load_preset("miniature", settings).sections)
    with pytest.raises(UserError, match="quantising by torchao needs that package"):
        fetch_files(plan, plan.wanted(["train"]), set(), Store(str(tmp_path)))


@pytest.mark.parametrize(
    ("kind", "precision", "installed", "message"),
    [
        ("torchao", "bf16", False, "quantising by torchao needs that package, which is not installed"),
        ("torchao", "fp16", True, "torchao's 8-bit integers go with bfloat16, not with float16"),
        ("bitsandbytes", "bf16", True, "bitsandbytes quantises on a GPU alone, not on cpu"),
    ],
)
def test_what_cannot_be_done_here_is_refused_in_a_line(
    make_config: MakeConfig, monkeypatch: pytest.MonkeyPatch, kind: str, precision: str, installed: bool, message: str
) -> None:
    monkeypatch.setattr(quantisation_module, "find_spec", lambda _name: object() if installed else None)
    config = make_config(precision=precision, base_quantisation={"kind": kind})
    with pytest.raises(UserError, match=message):
        load_models(config, CPU)
    with pytest.raises(UserError, match=message):
        config.fetch_files()
