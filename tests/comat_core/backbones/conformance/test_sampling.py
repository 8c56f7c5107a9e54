"""Every family: the same images as its stock pipeline's, and a row that does not care what stands beside it."""

import torch

from comat_core.backbones.adapters import active_adapter, add_lora, load_lora, save_lora
from comat_core.support.randomness import make_generator, normal_noise
from tests.comat_core.backbones.conformance.family_case import GUIDANCE, STEPS, FamilyCase, randomise
from tests.comat_core.stock_sampling import row_generators
from tests.tiny_models import IMAGE_SIDE


def test_an_untrained_adapter_gives_the_stock_pipelines_images(case: FamilyCase) -> None:
    stock = case.stock_images()
    assert stock.std() > 0.02
    add_lora(case.model, "online", rank=2, seed=1)
    with active_adapter(case.model.denoiser, "online"):
        torch.testing.assert_close(case.images(), stock, atol=1e-4, rtol=0)


def test_a_trained_adapter_gives_the_stock_pipeline_our_images(case: FamilyCase, tmp_path) -> None:
    randomise(add_lora(case.model, "online", rank=2, seed=1))
    bare = case.images()
    with active_adapter(case.model.denoiser, "online"):
        ours = case.images()
    assert (ours - bare).abs().max() > 1e-2, "an adapter without effect would prove nothing"
    save_lora(case.model, tmp_path, "online")
    pipeline = case.stock_pipeline()
    case.family.load_lora(pipeline, tmp_path)
    torch.testing.assert_close(case.stock_images(pipeline), ours, atol=1e-4, rtol=0)
    load_lora(case.model, tmp_path, "again")
    with active_adapter(case.model.denoiser, "again"):
        torch.testing.assert_close(case.images(), ours, atol=1e-5, rtol=0)


def test_rows_denoised_jointly_equal_rows_denoised_alone(case: FamilyCase) -> None:
    scheduler, shape = case.scheduler, case.latent_shape
    clean = normal_noise(shape, [make_generator(1, "clean")])
    late = scheduler.noisy_start(clean, normal_noise(shape, [make_generator(1, "late")]), 2, STEPS)
    latents = torch.cat([normal_noise(shape, row_generators(1)), late])
    with torch.no_grad():
        joint = case.sample(latents=latents, start_steps=[0, 2]).latents
        first = case.sample(rows=[0], latents=latents[:1]).latents
        second = case.sample(rows=[1], latents=latents[1:], start_steps=[2]).latents
    torch.testing.assert_close(joint, torch.cat([first, second]), atol=1e-4, rtol=1e-4)


def test_real_images_come_back_from_their_latents(case: FamilyCase) -> None:
    images = torch.rand(2, 3, IMAGE_SIDE, IMAGE_SIDE, generator=make_generator(1, "images"))
    model = case.model
    latents = model.encode_images(images, row_generators(2))
    assert latents.shape == (2, *case.latent_shape)
    alone = model.encode_images(images[1:], row_generators(2)[1:])
    torch.testing.assert_close(alone, latents[1:], atol=1e-4, rtol=1e-4)
    with torch.no_grad():
        assert model.decode(latents).shape == images.shape
        torch.testing.assert_close(model.decode(latents, checkpoint_rows=True), model.decode(latents))


def test_guidance_is_the_familys_own(case: FamilyCase) -> None:
    rows: list[int] = []
    case.model.denoiser.register_forward_pre_hook(
        lambda _module, args, kwargs: rows.append(len(args[0] if args else kwargs["hidden_states"])), with_kwargs=True
    )
    with torch.no_grad():
        case.sample(guidance_scale=GUIDANCE, num_inference_steps=1)
        case.sample(guidance_scale=1.0, num_inference_steps=1)
    assert rows == ([4, 2] if case.model.guidance == "two halves" else [2, 2])
