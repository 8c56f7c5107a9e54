"""Checkpoints that are loaded whole or not at all: missing weights, other classes, other files of weights."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import AutoencoderKL, AutoencoderTiny, UNet2DModel
from safetensors.torch import load_file
from torch import Tensor
from transformers import T5Config, T5EncoderModel

from comat_core.backbones.checkpoints.pipeline_loading import fetch_pipeline, load_network, load_pipeline
from comat_core.backbones.loading import load_backbone
from comat_core.support.errors import UserError
from tests.changed_checkpoints import (
    TEXT_ENCODER,
    UNET,
    VAE,
    change_json,
    change_weights,
    copy_of,
    in_half_precision_alone,
    pickled_alone,
)
from tests.tiny_pipelines import save_tiny_pixart


def prefixed(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    return {f"x.{name}": value for name, value in weights.items()}


def without_first(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: weights[name] for name in sorted(weights)[1:]}


@pytest.mark.parametrize(
    ("file", "change", "message"),
    [
        (TEXT_ENCODER, prefixed, r"its text_encoder lacks \d+ weights of CLIPTextModel, among them [\w.]+ "),
        (
            UNET,
            prefixed,
            r"its unet lacks \d+ weights of UNet2DConditionModel, among them add_embedding\.linear_1\.bias ",
        ),
        (VAE, without_first, r"its vae lacks 1 weights of AutoencoderKL, among them decoder\.conv_in\.bias "),
        ("text_encoder_2/model.safetensors", without_first, r"its text_encoder_2 lacks 1 weights of CLIPTextModelW"),
    ],
)
def test_a_component_that_lacks_weights_is_named_with_the_first_of_them(
    tiny_sdxl_folder: Path, tmp_path: Path, file: str, change: Callable[..., Any], message: str
) -> None:
    folder = copy_of(tiny_sdxl_folder, tmp_path / "base")
    change_weights(folder / file, change)
    with pytest.raises(UserError, match=message):
        load_backbone(folder)


@pytest.mark.parametrize(
    ("part", "message"), [("vae", "the autoencoder lacks 1 weights"), ("unet", "the UNet lacks 1 weights")]
)
def test_a_network_that_takes_the_checkpoints_place_has_to_be_whole_as_well(
    tiny_sd_folder: Path, tmp_path: Path, part: str, message: str
) -> None:
    folder = copy_of(tiny_sd_folder / part, tmp_path / part)
    change_weights(folder / "diffusion_pytorch_model.safetensors", without_first)
    replaced: dict[str, Any] = {"denoiser" if part == "unet" else part: folder}
    with pytest.raises(UserError, match=message):
        load_backbone(tiny_sd_folder, **replaced)


def test_another_generators_networks_have_to_be_whole_as_well(tmp_path: Path) -> None:
    folder = save_tiny_pixart(tmp_path / "pixart")
    assert load_pipeline(folder, {}, torch.float32).transformer is not None
    change_weights(folder / "transformer/diffusion_pytorch_model.safetensors", without_first)
    with pytest.raises(UserError, match="its transformer lacks 1 weights of PixArtTransformer2DModel, among them"):
        load_pipeline(folder, {}, torch.float32)


def small_t5(folder: Path) -> None:
    sizes: Any = {"d_model": 16, "d_kv": 8, "d_ff": 32, "num_layers": 1, "num_heads": 2, "vocab_size": 40}
    T5EncoderModel(T5Config(**sizes)).save_pretrained(folder)


def small_unet(folder: Path) -> None:
    kind: Any = UNet2DModel
    blocks = {"down_block_types": ("DownBlock2D",), "up_block_types": ("UpBlock2D",)}
    kind(sample_size=8, block_out_channels=(8,), norm_num_groups=4, **blocks).save_pretrained(folder)


@pytest.mark.parametrize(
    ("part", "save", "message"),
    [
        ("text_encoder", small_t5, "its text_encoder is T5EncoderModel, not CLIPTextModel"),
        ("unet", small_unet, "its unet is UNet2DModel, not UNet2DConditionModel"),
        ("vae", lambda folder: AutoencoderTiny().save_pretrained(folder), "its vae is AutoencoderTiny, not Auto"),
    ],
)
def test_a_component_of_another_class_than_the_index_says_is_refused_by_name(
    tiny_sd_folder: Path, tmp_path: Path, part: str, save: Callable[[Path], None], message: str
) -> None:
    folder = copy_of(tiny_sd_folder, tmp_path / "base")
    for file in (folder / part).iterdir():
        file.unlink()
    save(folder / part)
    with pytest.raises(UserError, match=message):
        load_backbone(folder)


def test_an_autoencoder_of_another_class_does_not_take_the_place_of_the_checkpoints(
    tiny_sd_folder: Path, tmp_path: Path
) -> None:
    AutoencoderTiny().save_pretrained(tmp_path)
    with pytest.raises(UserError, match="the autoencoder is AutoencoderTiny, not AutoencoderKL"):
        load_backbone(tiny_sd_folder, vae=tmp_path)


def test_the_former_names_of_an_autoencoders_weights_are_no_missing_ones(tiny_sd_folder: Path, tmp_path: Path) -> None:
    """Those of the published Stable Diffusion 1.5."""
    former = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}

    def renamed(weights: dict[str, Tensor]) -> dict[str, Tensor]:
        def name_of(name: str) -> str:
            return re.sub(r"\.(to_[qkv]|to_out\.0)\.", lambda found: f".{former[found[1]]}.", name)

        return {name_of(name): value for name, value in weights.items()}

    folder = copy_of(tiny_sd_folder, tmp_path / "base")
    change_weights(folder / VAE, renamed)
    assert any(".query." in name for name in load_file(folder / VAE))
    loaded, expected = load_backbone(folder).vae, load_backbone(tiny_sd_folder).vae
    for name, value in expected.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], value), name


def test_half_precision_is_taken_where_there_is_nothing_else(tiny_sd_folder: Path, tmp_path: Path) -> None:
    folder = copy_of(tiny_sd_folder, tmp_path / "base")
    for file in (UNET, VAE, TEXT_ENCODER):
        in_half_precision_alone(folder / file)
    model, whole = load_backbone(folder), load_backbone(tiny_sd_folder)
    assert model.dtype == torch.float32
    for part in ("unet", "vae"):
        weight = model.denoiser.conv_in.weight if part == "unet" else model.vae.encoder.conv_in.weight
        expected = whole.denoiser.conv_in.weight if part == "unet" else whole.vae.encoder.conv_in.weight
        assert torch.equal(weight, expected.half().float())
    another = load_backbone(tiny_sd_folder, vae=folder / "vae")
    assert torch.equal(another.vae.encoder.conv_in.weight, model.vae.encoder.conv_in.weight)


def test_plain_weights_are_preferred_to_half_precision(tiny_sd_folder: Path, tmp_path: Path) -> None:
    folder = copy_of(tiny_sd_folder, tmp_path / "base")
    plain = (folder / UNET).read_bytes()
    in_half_precision_alone(folder / UNET)
    (folder / UNET).write_bytes(plain)
    expected = load_backbone(tiny_sd_folder).denoiser.conv_in.weight
    assert torch.equal(load_backbone(folder).denoiser.conv_in.weight, expected)


def test_pickled_weights_are_not_read_and_named(tiny_sd_folder: Path, tmp_path: Path) -> None:
    folder = copy_of(tiny_sd_folder, tmp_path / "base")
    pickled_alone(folder / UNET)
    message = r"its unet has no safetensors weights, only diffusion_pytorch_model\.bin, which is not read \(.*/unet\)"
    with pytest.raises(UserError, match=message):
        load_backbone(folder)


def test_a_missing_part_of_sharded_weights_is_named(tiny_sd_folder: Path, tmp_path: Path) -> None:
    folder = copy_of(tiny_sd_folder, tmp_path / "base")
    unet = load_backbone(tiny_sd_folder).denoiser
    (folder / UNET).unlink()
    unet.save_pretrained(folder / "unet", max_shard_size="10KB")
    assert load_backbone(folder).denoiser.conv_in.weight.equal(unet.conv_in.weight)
    shard = sorted((folder / "unet").glob("*-of-*.safetensors"))[1]
    shard.unlink()
    with pytest.raises(UserError, match=f"its unet lacks {re.escape(shard.name)}, a part of its weights"):
        load_backbone(folder)


def test_an_index_of_weights_cannot_name_a_file_elsewhere(tiny_sd_folder: Path, tmp_path: Path) -> None:
    folder = copy_of(tiny_sd_folder, tmp_path / "base")
    (folder / UNET).rename(tmp_path / "elsewhere.safetensors")
    index = folder / f"{UNET}.index.json"
    index.write_text("{}")
    change_json(index, weight_map={"conv_in.weight": "../../elsewhere.safetensors"}, metadata={})
    with pytest.raises(UserError, match=r"its unet lacks \.\./\.\./elsewhere\.safetensors"):
        load_backbone(folder)


def test_the_hubs_repository_is_asked_for_half_precision_only_if_it_has_no_other_weights(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    asked: list[str | None] = []

    def download(source: str, *, variant: str | None = None, **options: Any) -> str:
        assert options["use_safetensors"] is True
        asked.append(variant)
        if variant is None:
            raise OSError(f"{source}: {reason}")
        return str(tmp_path)

    monkeypatch.setattr("comat_core.backbones.checkpoints.pipeline_loading.DiffusionPipeline.download", download)
    reason = "Could not find the necessary `safetensors` weights"
    assert fetch_pipeline("org/half", None, {}) == tmp_path
    assert asked == [None, "fp16"]
    reason = "no connection"
    with pytest.raises(OSError, match="no connection"):
        fetch_pipeline("org/away", None, {})
    assert asked == [None, "fp16", None]


def test_a_network_on_the_hub_falls_back_to_half_precision(tiny_sd_folder: Path, tmp_path: Path) -> None:
    folder = copy_of(tiny_sd_folder / "vae", tmp_path / "vae")
    in_half_precision_alone(folder / "diffusion_pytorch_model.safetensors")

    class OnHub(AutoencoderKL):
        """Reads the folder whatever it is asked for, as the hub's repository of that content would be read."""

        @classmethod
        def load_config(cls, source: Any, **options: Any) -> Any:
            del source
            return super().load_config(folder, **options)

        @classmethod
        def from_pretrained(cls, source: Any, *, variant: str | None = None, **options: Any) -> Any:
            if variant is None:
                raise OSError(f"{source} does not appear to have a file named diffusion_pytorch_model.safetensors.")
            return super().from_pretrained(folder, variant=variant, **options)

    OnHub.__name__ = "AutoencoderKL"
    loaded = load_network(OnHub, "org/half", "the autoencoder", torch.float32)
    expected = load_file(folder / "diffusion_pytorch_model.fp16.safetensors")["encoder.conv_in.weight"]
    assert torch.equal(loaded.encoder.conv_in.weight, expected.float())


@pytest.mark.parametrize(
    "damage",
    [
        lambda folder: change_json(folder / "unet/config.json", norm_num_groups=0),
        lambda folder: change_json(folder / "unet/config.json", block_out_channels="many"),
        lambda folder: change_json(folder / "text_encoder/config.json", hidden_size="wide"),
        lambda folder: change_json(folder / "scheduler/scheduler_config.json", beta_schedule="steep"),
        lambda folder: (folder / "tokenizer/tokenizer.json").write_text('{"model": 1}'),
        lambda folder: (folder / "unet/config.json").write_text("[1, 2]"),
        lambda folder: (folder / UNET).write_bytes((folder / UNET).read_bytes()[:1000]),
    ],
)
def test_a_damaged_checkpoint_is_told_in_one_line(
    tiny_sd_folder: Path, tmp_path: Path, damage: Callable[[Path], object]
) -> None:
    folder = copy_of(tiny_sd_folder, tmp_path / "base")
    damage(folder)
    with pytest.raises(UserError) as caught:
        load_backbone(folder)
    assert "\n" not in str(caught.value)
    assert str(folder) in str(caught.value)
