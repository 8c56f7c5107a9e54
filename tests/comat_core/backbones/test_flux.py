"""What is special about FLUX: packed latents, positions, a guidance that is an input, the stock pipeline's schedule."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import FluxPipeline
from torch import Tensor

from comat_core.backbones.families.flux.backbone import Flux
from comat_core.backbones.loading import load_backbone
from comat_core.backbones.lora.lora_metadata import base_version
from comat_core.backbones.packing import pack, unpack
from comat_core.backbones.protocol import Backbone
from comat_core.support.errors import UserError
from comat_core.support.randomness import make_generator
from tests.tiny_flux import FLUX_T5_TOKENS, save_tiny_flux_dev, save_tiny_flux_schnell
from tests.tiny_models import IMAGE_SIDE

Save = Callable[..., Path]


@pytest.fixture(scope="module")
def dev_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_flux_dev(tmp_path_factory.mktemp("flux") / "dev")


@pytest.fixture
def dev(dev_folder: Path) -> Backbone:
    return load_backbone(dev_folder)


def inputs_of(model: Backbone, monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Tensor]]:
    """What the transformer is called with from now on."""
    heard: list[dict[str, Tensor]] = []
    forward = model.denoiser.forward

    def listening(**inputs: Any) -> Any:
        heard.append(inputs)
        return forward(**inputs)

    monkeypatch.setattr(model.denoiser, "forward", listening)
    return heard


def some_latents(*shape: int) -> Tensor:
    return torch.randn(shape, generator=make_generator(1, "latents"))


def test_packing_is_the_stock_pipelines_and_can_be_undone() -> None:
    latents = some_latents(2, 4, 6, 10)
    packed = pack(latents)
    assert torch.equal(packed, FluxPipeline._pack_latents(latents, 2, 4, 6, 10))
    assert torch.equal(unpack(packed, 6, 10), latents)


def test_the_transformer_hears_what_the_stock_pipeline_tells_it(dev: Backbone, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sequence, time, guidance, pooled vector and both kinds of positions, at the first step."""
    heard = inputs_of(dev, monkeypatch)
    stock: Any = dev.pipeline
    stock.set_progress_bar_config(disable=True)
    noise = some_latents(1, 4, 8, 8)
    stock(
        "a red circle",
        height=IMAGE_SIDE,
        width=IMAGE_SIDE,
        num_inference_steps=1,
        guidance_scale=2.5,
        latents=pack(noise),
        max_sequence_length=FLUX_T5_TOKENS,
        output_type="latent",
    )
    timestep = dev.make_scheduler("flow-euler", IMAGE_SIDE).timesteps(1)[0]
    with torch.no_grad():
        dev.predict(noise, timestep, dev.encode_prompts(["a red circle"], IMAGE_SIDE), 2.5)
    of_stock, ours = heard
    names = {name for name, value in of_stock.items() if isinstance(value, Tensor)}
    assert names == {name for name, value in ours.items() if isinstance(value, Tensor)}
    assert {"guidance", "txt_ids", "img_ids", "pooled_projections"} < names
    for name in names:
        torch.testing.assert_close(ours[name], of_stock[name], msg=name)


def test_embedded_guidance_changes_the_prediction_and_none_means_no_guidance(dev: Backbone) -> None:
    latents, conditioning = some_latents(2, 4, 8, 8), dev.encode_prompts(["a star", "a heart"], IMAGE_SIDE)
    assert dev.guidance == "embedded"
    with torch.no_grad():
        none, one, four = (dev.predict(latents, torch.tensor(500.0), conditioning, scale) for scale in (None, 1.0, 4.0))
    assert torch.equal(none, one)
    assert (four - one).abs().max() > 1e-3


def test_schnell_is_told_no_guidance(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = load_backbone(save_tiny_flux_schnell(tmp_path / "schnell"))
    heard = inputs_of(model, monkeypatch)
    with torch.no_grad():
        model.predict(
            some_latents(1, 4, 8, 8),
            torch.tensor(500.0),
            model.encode_prompts(["a star"], IMAGE_SIDE),
            guidance_scale=4.0,
        )
    assert model.guidance == "none"
    assert "guidance" in heard[0] and heard[0]["guidance"] is None


@pytest.mark.parametrize(("save", "steps"), [(save_tiny_flux_dev, 5), (save_tiny_flux_schnell, 3)])
def test_the_noise_levels_are_those_of_the_stock_pipelines_call(tmp_path: Path, save: Save, steps: int) -> None:
    model = load_backbone(save(tmp_path / "flux"))
    stock: Any = FluxPipeline.from_pretrained(tmp_path / "flux")
    stock.set_progress_bar_config(disable=True)
    size: dict[str, Any] = {"height": IMAGE_SIDE, "width": IMAGE_SIDE, "max_sequence_length": FLUX_T5_TOKENS}
    stock("a star", num_inference_steps=steps, output_type="latent", **size)
    scheduler = model.make_scheduler("flow-euler", IMAGE_SIDE)
    torch.testing.assert_close(scheduler.timesteps(steps), stock.scheduler.timesteps)
    drawn = scheduler.draw_timesteps(1000, make_generator(1, "timesteps"))
    assert drawn.min() > 0 and drawn.max() < 1000
    assert scheduler.last_timestep(steps) == pytest.approx(float(stock.scheduler.timesteps[-1]))


def test_a_size_whose_latents_cannot_be_packed_is_an_error(dev: Backbone) -> None:
    assert dev.latent_size(24) == 6
    with pytest.raises(UserError, match=r"resolution 36 does not fit this model.*choose a multiple of 8"):
        dev.latent_size(36)


def test_both_kinds_of_blocks_are_found_and_the_published_double_ones_are_the_default(tmp_path: Path) -> None:
    model = load_backbone(save_tiny_flux_schnell(tmp_path / "deep", num_layers=19, num_single_layers=1))
    everything = model.attention_layers(("*",))
    assert len(everything) == 20 and "single_transformer_blocks.0.attn" in everything
    assert list(model.attention_layers()) == [f"transformer_blocks.{block}.attn" for block in range(10, 19)]
    assert list(model.attention_layers(("single*",))) == ["single_transformer_blocks.0.attn"]


def test_blocks_of_another_depth_are_chosen_at_the_same_height(dev: Backbone) -> None:
    assert list(dev.attention_layers()) == ["transformer_blocks.1.attn"]


def test_a_transformer_that_takes_more_than_latents_is_refused(tmp_path: Path) -> None:
    folder = save_tiny_flux_dev(tmp_path / "canny", in_channels=32, out_channels=16)
    with pytest.raises(UserError, match="the transformer takes more than latents"):
        load_backbone(folder)


def test_a_model_of_the_published_size_is_called_by_its_name(dev: Backbone) -> None:
    assert isinstance(dev, Flux)
    assert dev.architecture is None
    dev.denoiser.register_to_config(num_layers=19, num_single_layers=38, joint_attention_dim=4096)
    assert dev.architecture == "flux-1-dev"
    dev.denoiser.register_to_config(guidance_embeds=False)
    assert dev.architecture == "flux-1-schnell"
    assert base_version({"modelspec.architecture": "flux-1-dev/lora"}) == {
        "ss_base_model_version": "flux1",
        "ss_v2": "False",
    }
