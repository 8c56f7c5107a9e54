"""LoRA files as others read them: kohya's names, notes in the header, beside another LoRA, merged into the weights."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from comat_core.backbones.adapters import active_adapter, add_lora, merge_lora, save_lora
from comat_core.backbones.families.stable_diffusion_xl.backbone import original_block_name
from comat_core.backbones.lora.kohya import kohya_lora
from comat_core.backbones.lora.lora_metadata import describe_lora, kohya_notes
from comat_core.backbones.protocol import Backbone
from comat_core.files.safetensors_files import read_metadata, save_with_metadata
from comat_core.sampling.schedulers import make_scheduler
from tests.comat_core.backbones.test_adapters import randomise
from tests.comat_core.stock_sampling import sample, stock_images, stock_pipeline

ModelOf = Callable[[str], Backbone]
KINDS = ("sd", "sd2", "sdxl")
ALPHA = 4.0


def tuned(model: Backbone, name: str = "tuned", rank: int = 4) -> Backbone:
    randomise(add_lora(model, name, rank=rank, seed=1))
    return model


def our_images(model: Backbone, name: str) -> Tensor:
    with active_adapter(model.denoiser, name):
        return model.decode(sample(model, make_scheduler(model.scheduler, "ddim")).latents).clamp(0, 1)


def their_images(folder: Path, *loras: Path) -> Tensor:
    pipeline = stock_pipeline(folder)
    for lora in loras:
        pipeline.load_lora_weights(lora.parent, weight_name=lora.name)
    return stock_images(pipeline, make_scheduler(pipeline.scheduler, "ddim"))


@pytest.mark.parametrize("kind", KINDS)
def test_the_stock_pipeline_reads_kohyas_names_to_our_images(
    kind: str, tiny_model: ModelOf, tiny_folders: dict[str, Path], tmp_path: Path
) -> None:
    model = tuned(tiny_model(kind))
    file = tmp_path / "kohya.safetensors"
    save_with_metadata(kohya_lora(model, "tuned"), file, kohya_notes(model, "tuned"))
    images = our_images(model, "tuned")
    assert (images - their_images(tiny_folders[kind])).abs().max() > 0.05
    torch.testing.assert_close(their_images(tiny_folders[kind], file), images, atol=1e-4, rtol=0)


@pytest.mark.parametrize("kind", KINDS)
def test_kohyas_file_has_down_up_and_alpha_of_every_adapted_layer(kind: str, tiny_model: ModelOf) -> None:
    model = tuned(tiny_model(kind))
    tensors = kohya_lora(model, "tuned")
    layers = {key.split(".")[0] for key in tensors}
    adapted = [n for n, _ in model.denoiser.named_modules() if n.endswith(("to_q", "to_k", "to_v", "to_out.0"))]
    assert len(layers) == len(adapted)
    assert all(layer.startswith("lora_unet_") for layer in layers)
    assert set(tensors) == {
        f"{layer}.{part}" for layer in layers for part in ("lora_down.weight", "lora_up.weight", "alpha")
    }
    assert {tensor.item() for key, tensor in tensors.items() if key.endswith(".alpha")} == {ALPHA}
    original = any("input_blocks" in layer or "middle_block_1" in layer for layer in layers)
    assert original == (kind == "sdxl")


@pytest.mark.parametrize(
    ("diffusers", "original"),
    [
        ("down_blocks_1_attentions_0", "input_blocks_4_1"),
        ("down_blocks_1_attentions_1", "input_blocks_5_1"),
        ("down_blocks_2_attentions_0", "input_blocks_7_1"),
        ("down_blocks_2_attentions_1", "input_blocks_8_1"),
        ("mid_block_attentions_0", "middle_block_1"),
        ("up_blocks_0_attentions_0", "output_blocks_0_1"),
        ("up_blocks_0_attentions_2", "output_blocks_2_1"),
        ("up_blocks_1_attentions_0", "output_blocks_3_1"),
        ("up_blocks_1_attentions_2", "output_blocks_5_1"),
    ],
)
def test_all_blocks_with_attention_of_the_published_sdxl_get_their_original_names(
    diffusers: str, original: str
) -> None:
    key = "lora_unet_{}_transformer_blocks_0_attn1_to_q.lora_down.weight"
    assert original_block_name(key.format(diffusers), 2) == key.format(original)


@pytest.mark.parametrize("kind", KINDS)
def test_a_merged_pipeline_gives_the_tuned_images_without_any_adapter(
    kind: str, tiny_model: ModelOf, tmp_path: Path
) -> None:
    model = tuned(tiny_model(kind))
    images = our_images(model, "tuned")
    merge_lora(model.denoiser, "tuned")
    model.pipeline.save_pretrained(tmp_path)
    names = load_file(tmp_path / "unet" / "diffusion_pytorch_model.safetensors").keys()
    assert not any("lora" in name or "base_layer" in name for name in names)
    torch.testing.assert_close(their_images(tmp_path), images, atol=1e-4, rtol=0)


@pytest.mark.parametrize("kind", ["sd", "sdxl"])
def test_it_composes_with_another_lora_by_weights(
    kind: str, tiny_model: ModelOf, tiny_folders: dict[str, Path], tmp_path: Path
) -> None:
    model = tuned(tuned(tiny_model(kind)), "other", rank=2)
    files = {name: save_lora(model, tmp_path / name, name) for name in ("tuned", "other")}
    pipeline = stock_pipeline(tiny_folders[kind])
    for name, file in files.items():
        pipeline.load_lora_weights(file.parent, weight_name=file.name, adapter_name=name)

    def images(*weights: float) -> Tensor:
        pipeline.set_adapters(["tuned", "other"], list(weights))
        return stock_images(pipeline, make_scheduler(pipeline.scheduler, "ddim"))

    torch.testing.assert_close(images(1.0, 0.0), our_images(model, "tuned"), atol=1e-4, rtol=0)
    torch.testing.assert_close(images(0.0, 1.0), our_images(model, "other"), atol=1e-4, rtol=0)
    both = images(1.0, 0.7)
    for name in files:
        assert (both - our_images(model, name)).abs().max() > 0.01


def test_the_header_names_base_and_architecture_and_lets_loaders_rebuild_the_adapter(
    tiny_model: ModelOf, tiny_folders: dict[str, Path], tmp_path: Path
) -> None:
    model = tuned(tiny_model("sd2"))
    notes = describe_lora(model, "tuned", base="org/name@abc", resolution=32, title="A LoRA")
    file = save_lora(model, tmp_path, "tuned", notes)
    found = read_metadata(file)
    assert found["comat.base"] == "org/name@abc"
    assert (found["modelspec.title"], found["modelspec.resolution"]) == ("A LoRA", "32x32")
    assert found["modelspec.prediction_type"] == "v"
    assert "modelspec.architecture" not in found, "the tiny model is none of the published ones"
    pipeline = stock_pipeline(tiny_folders["sd2"])
    pipeline.load_lora_weights(tmp_path, adapter_name="loaded")
    config = pipeline.unet.peft_config["loaded"]
    assert (config.r, config.lora_alpha, set(config.target_modules)) == (
        4,
        4,
        set(model.denoiser.peft_config["tuned"].target_modules),
    )
    torch.testing.assert_close(their_images(tiny_folders["sd2"], file), our_images(model, "tuned"), atol=1e-4, rtol=0)


@pytest.mark.parametrize(
    ("width", "prediction", "architecture", "v2"),
    [
        (768, "epsilon", "stable-diffusion-v1/lora", "False"),
        (1024, "epsilon", "stable-diffusion-v2-512/lora", "True"),
        (1024, "v_prediction", "stable-diffusion-v2-768-v/lora", "True"),
        (2048, "epsilon", "stable-diffusion-xl-v1-base/lora", "False"),
    ],
)
def test_published_architectures_are_told_apart(
    tiny_model: ModelOf, width: int, prediction: str, architecture: str, v2: str
) -> None:
    model = tuned(tiny_model("sd"))
    model.denoiser.register_to_config(cross_attention_dim=width)
    model.scheduler.register_to_config(prediction_type=prediction)
    assert describe_lora(model, "tuned", base="b", resolution=32, title="t")["modelspec.architecture"] == architecture
    assert kohya_notes(model, "tuned")["ss_v2"] == v2


def test_a_file_with_many_notes_has_the_same_bytes_each_time(tmp_path: Path) -> None:
    tensors = {"b": torch.arange(3.0), "a": torch.ones(2, 2, dtype=torch.float16)}
    notes = {f"note {number}": json.dumps({"ä": number}) for number in range(20)}
    contents = set()
    for number in range(5):
        save_with_metadata(tensors, tmp_path / f"{number}", dict(reversed(notes.items())) if number % 2 else notes)
        contents.add((tmp_path / f"{number}").read_bytes())
    assert len(contents) == 1
    assert read_metadata(tmp_path / "0") == {"format": "pt", **notes}
    loaded = load_file(tmp_path / "0")
    assert all(torch.equal(loaded[name], tensor) for name, tensor in tensors.items())
