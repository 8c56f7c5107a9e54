"""A base spread over processes: what it predicts and teaches is the whole one's; little of it is whole at a time."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor

import comat_core.backbones.sharding as sharding_module
from comat_core.backbones.adapters import active_adapter, add_lora
from comat_core.backbones.loading import load_backbone
from comat_core.backbones.protocol import Backbone
from comat_core.backbones.recomputed_blocks import recompute_blocks
from comat_core.backbones.sharding import check_versions, gathered_bytes, shard_base
from comat_core.sampling.denoising import denoise
from comat_core.sampling.trajectories import start_from_noise
from comat_core.support.errors import UserError
from comat_core.support.memory.stored_bytes import stored_bytes
from comat_core.support.randomness import make_generator
from tests.sharded_networks import alone, first_of_two, most_gathered
from tests.tiny_families import TINY_FAMILIES
from tests.tiny_sd3 import save_tiny_sd3

SIDE = 32
CPU = torch.device("cpu")


def adapted(folder: Path, *, sharded: bool, blocks: bool = False) -> tuple[Backbone, list[Tensor]]:
    """A base with a LoRA that does something, and the LoRA's parameters."""
    model = load_backbone(folder)
    if sharded:
        shard_base(model, CPU, text_encoders=True)
    if blocks:
        recompute_blocks(model.denoiser)
    parameters = add_lora(model, "one", rank=2, seed=0)
    with torch.no_grad():
        for number, parameter in enumerate(parameters):
            parameter.copy_(0.1 * torch.randn(parameter.shape, generator=make_generator(0, "LoRA", number)))
    return model, [*parameters]


def taught(
    model: Backbone, parameters: list[Tensor], family: str, *, whole_calls: bool
) -> tuple[Tensor, list[Tensor | None]]:
    """Final latents of four steps, of which two keep a gradient, and the LoRA's gradients."""
    walk = model.make_scheduler(TINY_FAMILIES[family].scheduler, SIDE)
    with active_adapter(model.denoiser, "one"):
        noise, generators = start_from_noise(model, [1, 2], SIDE)
        latents = denoise(
            model,
            noise,
            model.encode_prompts(["a red circle", "a blue square"], SIDE),
            model.encode_unconditional(2, SIDE),
            scheduler=walk,
            num_inference_steps=4,
            guidance_scale=3,
            generators=generators,
            gradient_steps=(1, 2),
            checkpoint_denoiser=whole_calls,
        ).latents
        # As rewards are walked back that are held against each other: the same calls, again.
        latents.sum().backward(retain_graph=True)
        latents.square().sum().backward()
    return latents.detach(), [parameter.grad for parameter in parameters]


@pytest.mark.parametrize("family", ["sdxl", "sd3", "flux dev", "flux2 klein", "pixart alpha", "sana"])
def test_gradients_are_those_of_the_whole_base(tmp_path: Path, family: str) -> None:
    """Gathering changes no bit; a UNet's skip connections add up their gradients in another order."""
    folder = TINY_FAMILIES[family].save(tmp_path / "base")
    expected = taught(*adapted(folder, sharded=False), family, whole_calls=True)
    with alone():
        found = taught(*adapted(folder, sharded=True, blocks=True), family, whole_calls=True)
    tolerance = 1e-4 if family == "sdxl" else 0
    assert torch.equal(found[0], expected[0])
    torch.testing.assert_close(found[1], expected[1], atol=tolerance, rtol=tolerance)
    assert max(gradient.abs().max() for gradient in expected[1] if gradient is not None) > 0


@pytest.fixture
def deep_base(tmp_path: Path) -> Path:
    return save_tiny_sd3(tmp_path / "deep", num_layers=10)


@pytest.fixture
def two_processes() -> Iterator[None]:
    with first_of_two():
        yield


@pytest.mark.usefixtures("two_processes")
@pytest.mark.parametrize("whole_calls", [True, False])
def test_a_process_keeps_half_and_gathers_few_blocks_at_a_time(deep_base: Path, whole_calls: bool) -> None:
    whole, _ = adapted(deep_base, sharded=False)
    model, parameters = adapted(deep_base, sharded=True)
    for name, network in whole.networks.items():
        total = sum(stored_bytes(value) for value in network.parameters() if not value.requires_grad)
        own = sum(stored_bytes(value) for value in model.networks[name].parameters() if not value.requires_grad)
        assert own == pytest.approx(total if name == "autoencoder" else total / 2, rel=0.01)
    with most_gathered(model.denoiser) as most:
        taught(model, parameters, "sd3", whole_calls=whole_calls)
    allowed = gathered_bytes(model.denoiser)
    assert 0.8 * allowed < most[0] <= allowed
    assert allowed == gathered_bytes(whole.denoiser)
    assert allowed < 0.6 * sum(map(stored_bytes, whole.denoiser.parameters()))


@pytest.mark.usefixtures("two_processes")
def test_text_encoders_gather_less_and_may_stay_whole(deep_base: Path) -> None:
    model = load_backbone(deep_base)
    shard_base(model, CPU, text_encoders=True)
    encoder = model.text_encoders["text encoder 3"]
    with most_gathered(encoder) as most:
        model.encode_prompts(["a red circle"], SIDE)
    assert 0 < most[0] <= gathered_bytes(encoder)
    apart = load_backbone(deep_base)
    shard_base(apart, CPU, text_encoders=False)
    whole = load_backbone(deep_base).encode_prompts(["a red circle"], SIDE)
    assert torch.equal(apart.encode_prompts(["a red circle"], SIDE)["prompt_embeds"], whole["prompt_embeds"])


@pytest.mark.parametrize(("package", "installed"), [("torch", "2.13.1+cu130"), ("peft", "0.20.0")])
def test_older_packages_are_refused(monkeypatch: pytest.MonkeyPatch, package: str, installed: str) -> None:
    check_versions("here")
    own = sharding_module.version
    monkeypatch.setattr(sharding_module, "version", lambda name: installed if name == package else own(name))
    with pytest.raises(UserError, match=f"needs {package} .* or later, and {re.escape(installed)} is installed"):
        check_versions("here")
