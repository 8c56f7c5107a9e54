import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from comat_core.backbones.loading import load_backbone
from comat_core.backbones.protocol import Backbone
from comat_core.backbones.text.conditioning import Conditioning
from comat_core.sampling.schedulers import make_scheduler
from comat_core.support.errors import UserError
from comat_core.support.randomness import make_generator
from tests.comat_core.stock_sampling import PROMPTS, sample, stock_images, stock_pipeline
from tests.tiny_models import IMAGE_SIDE, LATENT_SIDE

ModelOf = Callable[[str], Backbone]


@pytest.mark.parametrize("kind", ["sd", "sdxl"])
def test_decoded_images_equal_the_stock_pipelines_in_zero_to_one(
    kind: str, tiny_model: ModelOf, tiny_folders: dict[str, Path]
) -> None:
    model = tiny_model(kind)
    scheduler = make_scheduler(model.scheduler, "ddpm")
    images = model.decode(sample(model, scheduler).latents)
    stock = stock_images(stock_pipeline(tiny_folders[kind]), scheduler)
    assert stock.std() > 0.05
    assert stock.mean() > 0.25, "an image in [-1, 1] would be centred on 0"
    torch.testing.assert_close(images.clamp(0, 1), stock, atol=1e-4, rtol=0)
    assert images.min() < 0 or images.max() > 1, "tails are left to the caller"


@pytest.mark.parametrize("kind", ["sd", "sd2", "sdxl"])
def test_conditioning_equals_the_stock_pipelines(kind: str, tiny_model: ModelOf) -> None:
    model = tiny_model(kind)
    stock = model.pipeline.encode_prompt(
        list(PROMPTS), device="cpu", num_images_per_prompt=1, do_classifier_free_guidance=True
    )
    conditioning = model.encode_prompts(PROMPTS, IMAGE_SIDE)
    unconditional = model.encode_unconditional(len(PROMPTS), IMAGE_SIDE)
    torch.testing.assert_close(conditioning["prompt_embeds"], stock[0])
    torch.testing.assert_close(unconditional["prompt_embeds"], stock[1])
    if kind == "sdxl":
        torch.testing.assert_close(conditioning["pooled_prompt_embeds"], stock[2])
        torch.testing.assert_close(unconditional["pooled_prompt_embeds"], stock[3])
        assert conditioning["time_ids"].tolist() == [[32, 32, 0, 0, 32, 32]] * 2


def test_the_empty_prompt_of_sdxl_is_not_its_unconditional_half(tiny_model: ModelOf) -> None:
    model = tiny_model("sdxl")
    assert model.encode_unconditional(1, IMAGE_SIDE)["prompt_embeds"].abs().max() == 0
    assert model.encode_prompts([""], IMAGE_SIDE)["prompt_embeds"].abs().max() > 0


def test_nothing_asks_for_a_gradient_and_everything_is_in_evaluation_mode(tiny_model: ModelOf) -> None:
    model = tiny_model("sdxl")
    modules = [model.denoiser, model.vae, model.pipeline.text_encoder, model.pipeline.text_encoder_2]
    assert not any(parameter.requires_grad for module in modules for parameter in module.parameters())
    assert not any(module.training for module in modules)


def test_encoding_images_uses_the_scale_of_the_unet_and_one_generator_per_image(tiny_model: ModelOf) -> None:
    model = tiny_model("sd")
    images = torch.rand(3, 3, IMAGE_SIDE, IMAGE_SIDE, generator=make_generator(1, "images"))
    latents = model.encode_images(images, [make_generator(1, "posterior", row) for row in range(3)])
    posterior = model.vae.encode(images * 2 - 1).latent_dist
    noise = torch.randn(4, LATENT_SIDE, LATENT_SIDE, generator=make_generator(1, "posterior", 2))
    expected = (posterior.mean[2] + posterior.std[2] * noise) * 0.18215
    torch.testing.assert_close(latents[2], expected, atol=1e-5, rtol=1e-5)
    alone = model.encode_images(images[2:], [make_generator(1, "posterior", 2)])
    torch.testing.assert_close(latents[2:], alone, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    "latent_statistics",
    [{"shift_factor": 0.3}, {"latents_mean": [0.1, -0.2, 0.3, 0.0], "latents_std": [2.0, 1.0, 0.5, 1.5]}],
)
def test_the_autoencoders_shift_and_spread_are_honoured(tiny_model: ModelOf, latent_statistics: dict) -> None:
    model = tiny_model("sdxl")
    model.vae.register_to_config(**latent_statistics)
    raw = torch.randn(1, 4, LATENT_SIDE, LATENT_SIDE, generator=make_generator(1, "latents"))
    if "shift_factor" in latent_statistics:
        scaled = (raw - 0.3) * 0.13025
    else:
        mean, std = (torch.tensor(values).view(1, 4, 1, 1) for values in latent_statistics.values())
        scaled = (raw - mean) / std * 0.13025
    torch.testing.assert_close(model.decode(scaled), model.vae.decode(raw).sample / 2 + 0.5, atol=1e-4, rtol=1e-4)


def test_decoding_row_by_row_with_recomputation_gives_the_same_images_and_gradient(tiny_model: ModelOf) -> None:
    model = tiny_model("sd")
    latents = torch.randn(2, 4, LATENT_SIDE, LATENT_SIDE, generator=make_generator(1, "latents"))
    gradients, images = [], []
    for checkpoint_rows in (False, True):
        leaf = latents.clone().requires_grad_()
        images.append(model.decode(leaf, checkpoint_rows=checkpoint_rows))
        images[-1].square().sum().backward()
        gradients.append(leaf.grad)
    torch.testing.assert_close(images[0], images[1], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(gradients[0], gradients[1], atol=1e-4, rtol=1e-4)
    assert gradients[0].abs().min(dim=0).values.max() > 0


def test_half_precision_is_what_was_asked_for_and_the_autoencoder_that_overflows_stays_full(
    tiny_sdxl_folder: Path,
) -> None:
    model = load_backbone(tiny_sdxl_folder, dtype=torch.float16)
    assert model.dtype == model.pipeline.text_encoder_2.dtype == torch.float16
    assert model.vae.dtype == torch.float32
    latents = torch.zeros(1, 4, LATENT_SIDE, LATENT_SIDE)
    assert model.predict(latents, torch.tensor(5), model.encode_prompts(["a"], IMAGE_SIDE)).dtype == torch.float32
    assert model.decode(latents).dtype == torch.float32


def test_autocast_does_not_lower_the_autoencoders_precision(tiny_model: ModelOf) -> None:
    model = tiny_model("sdxl")
    latents = torch.randn(1, 4, LATENT_SIDE, LATENT_SIDE, generator=make_generator(1, "latents"))
    images = torch.rand(1, 3, IMAGE_SIDE, IMAGE_SIDE, generator=make_generator(1, "images"))
    plain = model.decode(latents), model.encode_images(images, [make_generator(1, "posterior")])
    with torch.autocast("cpu", torch.bfloat16):
        cast = model.decode(latents), model.encode_images(images, [make_generator(1, "posterior")])
    assert torch.equal(plain[0], cast[0])
    assert torch.equal(plain[1], cast[1])


def test_another_autoencoder_or_denoiser_can_be_put_in(tiny_sd_folder: Path, tiny_sd2_folder: Path) -> None:
    model = load_backbone(tiny_sd_folder, vae=tiny_sd2_folder / "vae", denoiser=tiny_sd2_folder / "unet")
    other = load_backbone(tiny_sd2_folder)
    assert torch.equal(model.vae.decoder.conv_out.weight, other.vae.decoder.conv_out.weight)
    assert torch.equal(model.denoiser.conv_out.weight, other.denoiser.conv_out.weight)
    with pytest.raises(UserError, match=r"cannot load the autoencoder.*nowhere"):
        load_backbone(tiny_sd_folder, vae=tiny_sd2_folder / "nowhere")


def test_latent_size_follows_the_model_and_refuses_what_does_not_fit(tiny_model: ModelOf) -> None:
    model = tiny_model("sd")
    assert (model.vae_scale_factor, model.latent_channels) == (4, 4)
    assert model.latent_size(IMAGE_SIDE) == LATENT_SIDE
    with pytest.raises(UserError, match=r"resolution 36 does not fit this model .*multiple of 8"):
        model.latent_size(36)


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"cannot load the model.*nowhere"):
        load_backbone(tmp_path / "nowhere")


def test_an_unsupported_pipeline_is_refused_before_its_weights_are_read(tmp_path: Path) -> None:
    (tmp_path / "model_index.json").write_text(json.dumps({"_class_name": "KandinskyPipeline"}))
    with pytest.raises(UserError, match=r"is a KandinskyPipeline, which is not supported.*StableDiffusionPipeline"):
        load_backbone(tmp_path)


def test_conditioning_rows_can_be_selected_repeated_and_joined() -> None:
    rows = torch.arange(3.0).view(3, 1, 1)
    batch = Conditioning({"prompt_embeds": rows, "time_ids": rows[:, 0].expand(3, 6)})
    assert batch.select([2, 0])["prompt_embeds"].flatten().tolist() == [2, 0]
    assert batch.repeat(2)["prompt_embeds"].flatten().tolist() == [0, 0, 1, 1, 2, 2]
    joined = Conditioning.concatenate([batch, batch.select(slice(0, 1))])
    assert len(joined) == 4
    assert joined["time_ids"][:, 0].tolist() == [0, 1, 2, 0]
