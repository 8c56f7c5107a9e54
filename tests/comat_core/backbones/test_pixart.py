"""What is special about PixArt: masked padding, a learned variance, sizes beside the text, LoRAs that peft loads."""

import json
from copy import deepcopy
from pathlib import Path

import pytest
import torch
from diffusers import PixArtTransformer2DModel
from torch import Tensor

from comat_core.backbones.adapters import active_adapter, add_lora, load_lora, merge_lora, save_lora
from comat_core.backbones.attention_maps import captured_attention
from comat_core.backbones.loading import load_backbone, wrap_pipeline
from comat_core.backbones.protocol import Backbone
from comat_core.support.errors import UserError
from comat_core.support.randomness import make_generator
from tests.changed_checkpoints import change_json, copy_of
from tests.comat_core.backbones.test_adapters import randomise
from tests.comat_core.stock_sampling import PROMPTS
from tests.tiny_models import IMAGE_SIDE
from tests.tiny_pipelines import save_tiny_pixart, save_tiny_pixart_alpha, save_tiny_pixart_sigma

TIMESTEP = torch.tensor(500)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("pixart")
    return {
        "alpha": save_tiny_pixart_alpha(folder / "alpha"),
        "small alpha": save_tiny_pixart(folder / "small"),
        "sigma": save_tiny_pixart_sigma(folder / "sigma"),
    }


@pytest.fixture(scope="module")
def _loaded(folders: dict[str, Path]) -> dict[str, Backbone]:
    return {kind: load_backbone(folder) for kind, folder in folders.items()}


@pytest.fixture
def models(_loaded: dict[str, Backbone]) -> dict[str, Backbone]:
    return {kind: wrap_pipeline(deepcopy(model.pipeline)) for kind, model in _loaded.items()}


def noise(model: Backbone) -> Tensor:
    side = model.latent_size(IMAGE_SIDE)
    return torch.randn(2, model.latent_channels, side, side, generator=make_generator(1, "latents"))


@torch.no_grad()
def prediction(model: Backbone, resolution: int = IMAGE_SIDE) -> Tensor:
    return model.predict(noise(model), TIMESTEP, model.encode_prompts(PROMPTS, resolution))


@pytest.mark.parametrize(("kind", "length"), [("alpha", 120), ("sigma", 300)])
def test_padding_gets_no_attention(kind: str, length: int, models: dict[str, Backbone]) -> None:
    model = models[kind]
    conditioning = model.encode_prompts(PROMPTS, IMAGE_SIDE)
    layers = model.attention_layers(("*",))
    with torch.no_grad(), captured_attention(model.attention_probe, layers, (0, 1), (8, 8)) as maps:
        model.predict(noise(model), TIMESTEP, conditioning)
    real = conditioning["prompt_mask"].bool()
    assert real.sum(dim=1).tolist() == [len(prompt) + 2 for prompt in PROMPTS], "letters, spaces, one more, the end"
    for layer in maps.values():
        assert layer.shape == (2, 4, 4, length)
        for row, of_row in zip(layer, real, strict=True):
            assert not row[..., ~of_row].any()
            assert (row[..., of_row] > 0).all()
            torch.testing.assert_close(row.sum(dim=-1), torch.ones(4, 4))


def test_the_learned_variance_is_cut_off(models: dict[str, Backbone]) -> None:
    model = models["sigma"]
    whole: list[Tensor] = []
    model.denoiser.register_forward_hook(lambda _module, _inputs, output: whole.append(output[0]))
    predicted = prediction(model)
    assert whole[0].shape == (2, 8, 8, 8)
    assert torch.equal(predicted, whole[0][:, :4])


def test_only_alpha_for_large_images_is_told_their_size(models: dict[str, Backbone]) -> None:
    conditioning = models["alpha"].encode_prompts(PROMPTS, 64)
    assert conditioning["resolution"].tolist() == [[64, 64], [64, 64]]
    assert conditioning["aspect_ratio"].tolist() == [[1], [1]]
    assert (prediction(models["alpha"], 64) - prediction(models["alpha"], 512)).abs().max() > 1e-3
    for kind in ("small alpha", "sigma"):
        assert set(models[kind].encode_prompts(PROMPTS, 64).tensors) == {"prompt_embeds", "prompt_mask"}


def test_capitals_and_white_space_move_no_words_tokens(models: dict[str, Backbone]) -> None:
    model = models["alpha"]
    tokenizer, length = model.text_layout().tokenizers[0]
    # The Turkish capital I with a dot becomes two characters.
    plain, written = "ii\u0307i a red circle", " \n I\u0130I A Red CIRCLE  "
    torch.testing.assert_close(
        model.encode_prompts([written], IMAGE_SIDE)["prompt_embeds"],
        model.encode_prompts([plain], IMAGE_SIDE)["prompt_embeds"],
    )
    start = written.index("CIRCLE")
    ((aligned,),) = model.text_layout().align_prompts([written], [[(start, start + 6)]])
    ids = tokenizer(plain, max_length=length).input_ids
    assert tokenizer.decode([ids[column] for column in aligned.tokens]).strip() == "circle"


def test_the_former_name_of_the_transformers_class_is_known(folders: dict[str, Path], tmp_path: Path) -> None:
    folder = copy_of(folders["alpha"], tmp_path / "published")
    change_json(folder / "model_index.json", transformer=["diffusers", "Transformer2DModel"])
    change_json(folder / "transformer/config.json", _class_name="Transformer2DModel")
    model = load_backbone(folder)
    assert type(model.denoiser) is PixArtTransformer2DModel
    torch.testing.assert_close(prediction(model), prediction(load_backbone(folders["alpha"])))


def test_a_lora_is_a_folder_of_pefts_and_can_be_merged(models: dict[str, Backbone], tmp_path: Path) -> None:
    model = models["sigma"]
    bare = prediction(model)
    randomise(add_lora(model, "online", rank=2, seed=1))
    with active_adapter(model.denoiser, "online"):
        tuned = prediction(model)
    assert (tuned - bare).abs().max() > 1e-2
    file = save_lora(model, tmp_path, "online", {"comat.base": "org/name"})
    assert sorted(path.name for path in tmp_path.iterdir()) == ["adapter_config.json", file.name]
    assert json.loads((tmp_path / "adapter_config.json").read_text())["r"] == 2
    merge_lora(model.denoiser, "online")
    torch.testing.assert_close(prediction(model), tuned, atol=1e-5, rtol=1e-5)
    assert not any("lora" in name or "base_layer" in name for name in model.denoiser.state_dict())


def test_a_lora_of_another_model_is_refused(models: dict[str, Backbone], tmp_path: Path) -> None:
    randomise(add_lora(models["sigma"], "online", rank=2, seed=1))
    save_lora(models["sigma"], tmp_path, "online")
    with pytest.raises(UserError, match=r"cannot load the LoRA: transformer_blocks\.1\..* fits no layer"):
        load_lora(models["small alpha"], tmp_path, "online")
    with pytest.raises(UserError, match=r"cannot load the LoRA: .* has 16 channels instead of 24"):
        load_lora(models["alpha"], tmp_path, "online")
    assert not hasattr(models["alpha"].denoiser, "peft_config"), "nothing of it is left there"
    (tmp_path / "adapter_config.json").unlink()
    with pytest.raises(UserError, match=r"cannot load the LoRA.*adapter_config\.json"):
        load_lora(models["sigma"], tmp_path, "again")
