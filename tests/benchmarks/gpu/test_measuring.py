"""The measurements themselves, on small networks of the same kinds and without a GPU."""

import math
from argparse import Namespace
from typing import Any

import pytest
import torch

from benchmarks.full_size_step import count
from benchmarks.gpu.__main__ import measure
from benchmarks.gpu.architectures import ARCHITECTURES, Place
from benchmarks.gpu.machine import describe_machine
from stages.plan.presets import load_preset

CPU = torch.device("cpu")
TINY = Namespace(tiny=True, device="cpu", repetitions=1, backend="eager")


@pytest.mark.slow
@pytest.mark.parametrize(
    "part", ["sd15.step.fp16.eager", "sdxl.step.bf16.eager", "sd35.step.bf16.eager", "sd15.step.bf16.compiled"]
)
def test_a_step_is_held_against_its_bare_calls_and_its_memory_against_the_plan(part: str) -> None:
    facts: Any = measure(part, TINY)
    train: Any = load_preset(facts["preset"]).sections["train"]
    timed = facts["step_over_bare_calls"]
    assert timed["seconds"] > 0 < timed["seconds_against"]
    assert timed["ratio"] == pytest.approx(timed["seconds"] / timed["seconds_against"])
    assert facts["compile_backend"] == ("eager" if part.endswith("compiled") else None)
    assert facts["precision"] == part.split(".")[2]
    assert facts["sampling"]["guidance_scale"] == train.sampling.guidance_scale
    assert facts["measured_bytes"] > facts["planned_bytes"] > 0
    assert facts["measured_bytes_are"].startswith("the process's")


@pytest.mark.slow
@pytest.mark.parametrize("part", ["sd15.draw.bf16", "sdxl.draw.bf16", "sd35.draw.bf16"])
def test_drawing_is_held_against_the_stock_pipeline(part: str) -> None:
    facts: Any = measure(part, TINY)
    sections: Any = load_preset(facts["preset"]).sections
    for name in ("latents", "images"):
        assert facts[name]["scheduler"] == sections[name].sampling.scheduler
        assert math.isfinite(facts[name]["per_second"]) and facts[name]["per_second_stock"] > 0
        assert facts[name]["time_over_stock"]["repetitions"] == 1


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        # Denoiser, autoencoder and text encoders as published: 859,520,964; 2,567,463,684; 2,243,171,520; ...
        ("sd15", {"UNet": 859_520_964, "autoencoder": 83_653_863, "text encoder": 123_060_480}),
        (
            "sdxl",
            {
                "UNet": 2_567_463_684,
                "autoencoder": 83_653_863,
                "text encoder": 123_060_480,
                "text encoder 2": 694_659_840,
            },
        ),
    ],
)
def test_the_architectures_have_the_published_sizes(name: str, parameters: dict[str, int]) -> None:
    model = ARCHITECTURES[name].make(Place(torch.device("meta"), torch.bfloat16))
    assert {part: count(network) for part, network in model.networks.items()} == parameters
    assert model.dtype == torch.bfloat16


def test_a_model_is_made_in_the_precision_that_is_asked_for_and_nothing_else_is() -> None:
    model = ARCHITECTURES["sdxl"].make(Place(CPU, torch.float16, tiny=True))
    assert {value.dtype for value in model.denoiser.parameters()} == {torch.float16}
    assert model.scheduler.alphas_cumprod.dtype == torch.float32
    assert torch.get_default_dtype() == torch.float32


def test_the_machine_is_described() -> None:
    described = describe_machine(CPU)
    assert described["device"] == "cpu"
    assert {"processor", "processor_cores", "torch", "diffusers", "transformers", "python"} <= described.keys()
