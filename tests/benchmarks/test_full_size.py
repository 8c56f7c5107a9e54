"""The measurement at full size, on small networks, and the published sizes without their weights."""

import json
from typing import Any

import pytest
import torch
from diffusers import (
    AutoencoderKL,
    FluxTransformer2DModel,
    PixArtTransformer2DModel,
    SD3Transformer2DModel,
    UNet2DConditionModel,
)
from transformers.initialization import no_init_weights

from benchmarks import full_size
from benchmarks.four_bits import FourBitLinear
from benchmarks.full_size_models import full_sizes, sdxl_unet
from benchmarks.full_size_transformers import PUBLISHED
from comat_core.support.memory.activation_memory import kept_activations
from comat_core.support.memory.stored_bytes import stored_bytes


def last_line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *options: str) -> dict:
    monkeypatch.setattr("sys.argv", ["full_size", "--tiny", *options])
    full_size.main()
    return json.loads(capsys.readouterr().out.splitlines()[-1])


def test_a_whole_step_is_measured(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    step = last_line(monkeypatch, capsys, "--parts", "step")["step"]
    assert step["lora_parameters"] == step["lora_parameters_expected"] > 0
    assert step["lora_tensors_moved"] > 0.9 * step["lora_tensors"]
    assert {"concept_activation", "fidelity", "concentration_positive"} <= step["losses"].keys()
    assert step["unet_bytes_ratio"] < 0.5
    assert step["within_limit"]


def test_sdxl_is_run_if_it_fits_and_else_planned(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = last_line(monkeypatch, capsys, "--parts", "sdxl")["sdxl"]
    assert run["lora_parameters"] == run["lora_parameters_expected"]
    assert run["lora_tensors_with_gradient"] > 0
    planned = last_line(monkeypatch, capsys, "--parts", "sdxl", "--limit", "0.0001")["sdxl"]
    assert (planned["fits"], planned["run"]) == (False, False)
    assert planned["bytes_needed"] == run["bytes_needed"] > 0.0001 * 2**30


@pytest.mark.slow
@pytest.mark.parametrize("part", ["sd35", "pixart"])
def test_a_step_of_a_published_transformer_is_measured(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], part: str
) -> None:
    step = last_line(monkeypatch, capsys, "--parts", part)[part]
    assert step["lora_parameters"] == step["lora_parameters_expected"] > 0
    assert step["lora_tensors_moved"] > 0.9 * step["lora_tensors"]
    assert {"concept_activation", "fidelity", "concentration_positive"} <= step["losses"].keys()


@pytest.mark.slow
def test_flux_is_planned_whole_and_quantised(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("torchao")
    plans = last_line(monkeypatch, capsys, "--parts", "flux")["flux"]
    assert plans["lora_parameters"] == plans["lora_parameters_expected"] > 0
    whole, eight, four = (plans[name]["frozen_weights"]["transformer"] for name in ("bf16", "torchao", "bitsandbytes"))
    assert whole == 2 * plans["parameters"]["transformer"]
    assert four < 0.6 * eight < 0.4 * whole


@pytest.mark.parametrize(
    ("name", "kind", "parameters"),
    [
        ("sd35", SD3Transformer2DModel, 2_243_171_520),
        ("pixart", PixArtTransformer2DModel, 610_856_096),
        ("flux", FluxTransformer2DModel, 11_901_408_320),
    ],
)
def test_the_transformers_have_the_published_sizes(name: str, kind: Any, parameters: int) -> None:
    published = PUBLISHED[name]
    with torch.device("meta"), no_init_weights():
        transformer = kind(**published.config)
    assert sum(parameter.numel() for parameter in transformer.parameters()) == parameters


def test_four_bits_are_packed_as_bitsandbytes_packs_them() -> None:
    bitsandbytes = pytest.importorskip("bitsandbytes")
    whole = torch.nn.Linear(192, 128, dtype=torch.bfloat16)
    theirs = bitsandbytes.nn.Linear4bit(
        192, 128, compute_dtype=torch.bfloat16, quant_type="nf4", compress_statistics=False
    )
    theirs.load_state_dict(whole.state_dict())
    theirs.weight = theirs.weight._quantize("cpu")
    planned = FourBitLinear(whole)
    assert stored_bytes(planned.weight) == stored_bytes(theirs.weight) == 192 * 128 // 2 + 192 * 128 // 64 * 4 + 16 * 4
    inputs = torch.ones(5, 192, dtype=torch.bfloat16, requires_grad=True)
    assert kept_activations(lambda: planned(inputs)) == kept_activations(lambda: theirs(inputs)) == 0


def test_the_networks_have_the_published_sizes() -> None:
    """859,520,964 and 2,567,463,684 parameters of the UNets, 83,653,863 of the autoencoder."""
    sizes = full_sizes()
    with torch.device("meta"):
        levels = len(sizes.autoencoder["block_out_channels"])
        networks = [
            UNet2DConditionModel(**sizes.unet),
            sdxl_unet(sizes),
            AutoencoderKL(
                down_block_types=("DownEncoderBlock2D",) * levels,  # type: ignore[arg-type]
                up_block_types=("UpDecoderBlock2D",) * levels,  # type: ignore[arg-type]
                latent_channels=4,
                **sizes.autoencoder,
            ),
        ]
    counts = [sum(parameter.numel() for parameter in network.parameters()) for network in networks]
    assert counts == [859_520_964, 2_567_463_684, 83_653_863]
