"""The measurement at full size, on small networks, and the published sizes without their weights."""

import json

import pytest
import torch
from diffusers import AutoencoderKL, UNet2DConditionModel

from benchmarks import full_size
from benchmarks.full_size_models import full_sizes, sdxl_unet


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
