"""What is special about FLUX.2 klein: an autoencoder that packs and normalises, four positions, a chat message."""

from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import Flux2KleinPipeline
from torch import Tensor

from comat_core.backbones.loading import load_backbone
from comat_core.backbones.protocol import Backbone
from comat_core.support.errors import UserError
from comat_core.support.randomness import make_generator
from tests.changed_checkpoints import change_json
from tests.tiny_flux2 import KLEIN_TOKENS, save_tiny_flux2_klein, save_tiny_flux2_klein_distilled
from tests.tiny_models import IMAGE_SIDE


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_flux2_klein(tmp_path_factory.mktemp("flux2") / "base")


@pytest.fixture
def model(folder: Path) -> Backbone:
    return load_backbone(folder)


def some_latents(*shape: int) -> Tensor:
    return torch.randn(shape, generator=make_generator(1, "latents"))


def stock_of(folder: Path) -> Any:
    stock: Any = Flux2KleinPipeline.from_pretrained(folder)
    stock.set_progress_bar_config(disable=True)
    return stock


def test_latents_are_scaled_as_the_stock_pipelines_are(model: Backbone) -> None:
    """Into the denoiser's scale and back."""
    images = torch.rand(1, 3, IMAGE_SIDE, IMAGE_SIDE, generator=make_generator(1, "image"))
    posterior = model.vae.encode(images * 2 - 1).latent_dist
    packed = model.autoencoder._to_denoisers_scale(posterior.mean)
    assert packed.shape == (1, 16, 4, 4)
    torch.testing.assert_close(packed, model.pipeline._encode_vae_image(images * 2 - 1, make_generator(1, "unused")))
    torch.testing.assert_close(model.autoencoder._to_own_scale(packed), posterior.mean)


def test_the_transformer_hears_what_the_stock_pipeline_tells_it(
    model: Backbone, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard: list[dict[str, Any]] = []
    forward = model.denoiser.forward

    def listening(**inputs: Any) -> Any:
        heard.append(inputs)
        return forward(**inputs)

    monkeypatch.setattr(model.denoiser, "forward", listening)
    noise = some_latents(1, 16, 4, 4)
    size: dict[str, Any] = {"height": IMAGE_SIDE, "width": IMAGE_SIDE, "max_sequence_length": KLEIN_TOKENS}
    model.pipeline.set_progress_bar_config(disable=True)
    model.pipeline(prompt="a red circle", num_inference_steps=1, guidance_scale=1.0, latents=noise, **size)
    timestep = model.make_scheduler("flow-euler", IMAGE_SIDE).timesteps(1)[0]
    with torch.no_grad():
        model.predict(noise, timestep, model.encode_prompts(["a red circle"], IMAGE_SIDE))
    of_stock, ours = heard
    for name in ("hidden_states", "timestep", "encoder_hidden_states"):
        torch.testing.assert_close(ours[name], of_stock[name], msg=name)
    for name in ("txt_ids", "img_ids"):
        torch.testing.assert_close(ours[name], of_stock[name][0].float(), msg=name)


@pytest.mark.parametrize("steps", [4, 10])
def test_the_noise_levels_are_those_of_the_stock_pipelines_call(folder: Path, model: Backbone, steps: int) -> None:
    stock = stock_of(folder)
    size: dict[str, Any] = {"height": IMAGE_SIDE, "width": IMAGE_SIDE, "max_sequence_length": KLEIN_TOKENS}
    stock(prompt="a star", num_inference_steps=steps, guidance_scale=1.0, output_type="latent", **size)
    scheduler = model.make_scheduler("flow-euler", IMAGE_SIDE)
    torch.testing.assert_close(scheduler.timesteps(steps), stock.scheduler.timesteps)


def test_distilled_models_know_no_guidance(tmp_path: Path, model: Backbone) -> None:
    assert model.guidance == "two halves"
    assert load_backbone(save_tiny_flux2_klein_distilled(tmp_path / "distilled")).guidance == "none"


def test_a_word_stands_behind_the_beginning_of_the_message(model: Backbone) -> None:
    ((aligned,),) = model.text_layout().align_prompts(["a star"], [[(2, 6)]])
    start = len(["<|im_start|>", *"user\n", *"a "])
    assert aligned.tokens == tuple(range(start, start + 4))


@pytest.mark.parametrize(
    "change",
    [{"padding_side": "left"}, {"chat_template": "{% for message in messages %}{{ message.content }}{% endfor %}"}],
)
def test_a_tokenizer_that_puts_words_elsewhere_is_refused(tmp_path: Path, change: dict[str, str]) -> None:
    folder = save_tiny_flux2_klein(tmp_path / "changed")
    if "chat_template" in change:
        (folder / "tokenizer/chat_template.jinja").write_text(change["chat_template"])
    else:
        change_json(folder / "tokenizer/tokenizer_config.json", **change)
    with pytest.raises(UserError, match="its tokenizer does not begin with the prompt's message"):
        load_backbone(folder)


def test_all_blocks_are_found_and_the_deeper_double_ones_are_the_default(tmp_path: Path) -> None:
    model = load_backbone(save_tiny_flux2_klein(tmp_path / "deep", num_layers=5, num_single_layers=3))
    assert len(model.attention_layers(("*",))) == 8
    assert list(model.attention_layers()) == [f"transformer_blocks.{block}.attn" for block in (2, 3, 4)]
