from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from comat_core.backbones.adapters import active_adapter, add_lora, load_lora, lora_parameters, save_lora
from comat_core.backbones.loading import load_backbone
from comat_core.backbones.protocol import Backbone
from comat_core.sampling.schedulers import make_scheduler
from comat_core.support.errors import UserError
from comat_core.support.randomness import make_generator
from tests.comat_core.stock_sampling import PROMPTS, sample, stock_images, stock_pipeline
from tests.tiny_models import IMAGE_SIDE

ModelOf = Callable[[str], Backbone]


def randomise(parameters: list[torch.nn.Parameter], scale: float = 0.3) -> None:
    """Stand in for training: every weight, the up projections too, becomes something."""
    for index, parameter in enumerate(parameters):
        parameter.data = scale * torch.randn(parameter.shape, generator=make_generator(1, "trained", index))


def prediction(model: Backbone) -> Tensor:
    latents = torch.randn(1, 4, 8, 8, generator=make_generator(1, "latents"))
    return model.predict(latents, torch.tensor(300), model.encode_prompts(PROMPTS[:1], IMAGE_SIDE))


def test_a_new_adapter_is_determined_by_seed_and_name_and_changes_nothing(tiny_model: ModelOf) -> None:
    states = {}
    for label, name, seed in (("a", "online", 1), ("again", "online", 1), ("seed", "online", 2), ("name", "other", 1)):
        model = tiny_model("sd")
        before = prediction(model)
        states[label] = [parameter.clone() for parameter in add_lora(model, name, rank=4, seed=seed)]
        with active_adapter(model.denoiser, name):
            assert torch.equal(prediction(model), before)
    same = [torch.equal(left, right) for left, right in zip(states["a"], states["again"], strict=True)]
    assert all(same)
    for other in ("seed", "name"):
        assert not torch.equal(states["a"][0], states[other][0])
    downs, ups = states["a"][::2], states["a"][1::2]
    assert abs(torch.cat([down.flatten() for down in downs]).std() - 1 / 4) < 0.02
    assert all(up.abs().max() == 0 for up in ups)


def test_the_projections_of_every_attention_layer_are_adapted(tiny_model: ModelOf) -> None:
    model = tiny_model("sd")
    projections = [n for n, _ in model.denoiser.named_modules() if n.endswith(("to_q", "to_k", "to_v", "to_out.0"))]
    parameters = add_lora(model, "online", rank=2, seed=1)
    assert len(parameters) == 2 * len(projections)
    assert [p for p in model.denoiser.parameters() if p.requires_grad] == parameters


@pytest.mark.parametrize("kind", ["sd", "sdxl"])
def test_a_zero_initialised_adapter_reproduces_the_stock_pipelines_images(
    kind: str, tiny_model: ModelOf, tiny_folders: dict[str, Path]
) -> None:
    model = tiny_model(kind)
    add_lora(model, "online", rank=4, seed=1)
    scheduler = make_scheduler(model.scheduler, "ddpm")
    with active_adapter(model.denoiser, "online"):
        images = model.decode(sample(model, scheduler).latents).clamp(0, 1)
    stock = stock_images(stock_pipeline(tiny_folders[kind]), scheduler)
    torch.testing.assert_close(images, stock, atol=1e-4, rtol=0)


@pytest.mark.parametrize("kind", ["sd", "sdxl"])
def test_a_saved_adapter_gives_the_stock_pipeline_our_images(
    kind: str, tiny_model: ModelOf, tiny_folders: dict[str, Path], tmp_path: Path
) -> None:
    model = tiny_model(kind)
    randomise(add_lora(model, "online", rank=4, seed=1))
    randomise(add_lora(model, "discriminator", rank=2, seed=1), scale=5.0)
    scheduler = make_scheduler(model.scheduler, "ddim")
    with active_adapter(model.denoiser, "online"):
        images = model.decode(sample(model, scheduler).latents).clamp(0, 1)
    base = model.decode(sample(model, scheduler).latents).clamp(0, 1)
    assert (images - base).abs().max() > 0.05

    save_lora(model, tmp_path, "online")
    pipeline = stock_pipeline(tiny_folders[kind])
    pipeline.load_lora_weights(tmp_path)
    torch.testing.assert_close(stock_images(pipeline, scheduler), images, atol=1e-4, rtol=0)

    loaded = tiny_model(kind)
    parameters = load_lora(loaded, tmp_path, "tuned")
    assert all(parameter.requires_grad and parameter.dtype == torch.float32 for parameter in parameters)
    torch.testing.assert_close(loaded.decode(sample(loaded, scheduler).latents).clamp(0, 1), base, atol=1e-5, rtol=0)
    with active_adapter(loaded.denoiser, "tuned"):
        again = loaded.decode(sample(loaded, scheduler).latents).clamp(0, 1)
    torch.testing.assert_close(again, images, atol=1e-5, rtol=0)


def test_switching_restores_what_it_found_and_leaves_gradients_on(tiny_model: ModelOf) -> None:
    model = tiny_model("sd")
    base = prediction(model)
    for name, scale in (("online", 0.3), ("discriminator", 0.6)):
        randomise(add_lora(model, name, rank=2, seed=1), scale)
    trainable = lora_parameters(model.denoiser, "online") + lora_parameters(model.denoiser, "discriminator")
    assert torch.equal(prediction(model), base), "adding an adapter does not switch it on"

    with active_adapter(model.denoiser, "online"):
        online = prediction(model)
        with active_adapter(model.denoiser, "discriminator"):
            discriminator = prediction(model)
            with active_adapter(model.denoiser, None):
                assert torch.equal(prediction(model), base)
            assert torch.equal(prediction(model), discriminator)
        assert torch.equal(prediction(model), online)
        with pytest.raises(ZeroDivisionError), active_adapter(model.denoiser, None):
            raise ZeroDivisionError
        assert torch.equal(prediction(model), online)
        assert all(parameter.requires_grad for parameter in trainable)
    assert torch.equal(prediction(model), base)
    assert not torch.equal(online, discriminator)
    assert not torch.equal(online, base)


def test_a_graph_made_under_one_adapter_can_be_walked_back_under_another(tiny_model: ModelOf) -> None:
    model = tiny_model("sd")
    online = add_lora(model, "online", rank=2, seed=1)
    randomise(online)
    discriminator = add_lora(model, "discriminator", rank=2, seed=1)
    with active_adapter(model.denoiser, "online"):
        loss = prediction(model).square().sum()
        expected = torch.autograd.grad(loss, online, retain_graph=True)
    with active_adapter(model.denoiser, "discriminator"):
        loss.backward()
    torch.testing.assert_close([parameter.grad for parameter in online], list(expected))
    assert all(parameter.grad is None for parameter in discriminator)


def test_adapters_stay_in_full_precision_on_a_half_precision_unet(tiny_sd_folder: Path, tmp_path: Path) -> None:
    model = load_backbone(tiny_sd_folder, dtype=torch.float16)
    parameters = add_lora(model, "online", rank=2, seed=1)
    randomise(parameters)
    assert {parameter.dtype for parameter in parameters} == {torch.float32}
    with active_adapter(model.denoiser, "online"):
        prediction(model).square().sum().backward()
    assert all(parameter.grad is not None and parameter.grad.dtype == torch.float32 for parameter in parameters)
    save_lora(model, tmp_path, "online")
    torch.testing.assert_close(load_lora(model, tmp_path, "again"), parameters, atol=0, rtol=0)


def test_mistakes_are_named(tiny_model: ModelOf, tmp_path: Path) -> None:
    model = tiny_model("sd")
    with pytest.raises(UserError, match=r"LoRA rank 0 is not positive.*'online'"):
        add_lora(model, "online", rank=0, seed=1)
    with pytest.raises(UserError, match=r"cannot add the adapter.*'online'"):
        add_lora(model, "online", rank=2, seed=1, target_modules=("no_such_layer",))
    with pytest.raises(UserError, match="0 safetensors files instead of one"):
        load_lora(model, tmp_path, "online")
    (tmp_path / "pytorch_lora_weights.safetensors").write_bytes(b"not a tensor file")
    with pytest.raises(UserError, match="cannot load the LoRA"):
        load_lora(model, tmp_path, "online")
    with pytest.raises(KeyError, match="no adapter 'absent'"), active_adapter(model.denoiser, "absent"):
        pass


def test_an_adapter_of_another_architecture_is_refused(tiny_model: ModelOf, tmp_path: Path) -> None:
    other = tiny_model("sdxl")
    randomise(add_lora(other, "online", rank=2, seed=1))
    save_lora(other, tmp_path, "online")
    with pytest.raises(UserError, match="cannot load the LoRA"):
        load_lora(tiny_model("sd"), tmp_path, "online")
