"""Features of image models in transformers' format: what is read, and of which models."""

from pathlib import Path

import pytest
import torch
from transformers import (
    BitImageProcessor,
    Dinov2Config,
    Dinov2Model,
    ResNetConfig,
    ResNetModel,
    ViTConfig,
    ViTImageProcessor,
    ViTModel,
)

from comat_core.scorers.image_features import PatchTokens, PooledFeatures
from comat_core.support.errors import UserError
from tests.deterministic_weights import fill_with_noise
from tests.tiny_clip import save_tiny_clip

SIDE = 32


@pytest.fixture(scope="module")
def dino(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny DINOv2 whose processor crops, as the published one's does."""
    folder = tmp_path_factory.mktemp("dino")
    config = Dinov2Config(hidden_size=16, num_hidden_layers=2, num_attention_heads=2, image_size=SIDE, patch_size=8)
    fill_with_noise(Dinov2Model(config), seed=0).save_pretrained(folder)
    crop = {"height": SIDE, "width": SIDE}
    processor = BitImageProcessor(
        size={"shortest_edge": 40}, crop_size=crop, image_mean=[0.5] * 3, image_std=[0.25] * 3
    )
    processor.save_pretrained(folder)
    return folder


def images(rows: int = 2) -> torch.Tensor:
    return torch.randint(0, 256, (rows, 3, SIDE, SIDE), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def test_patch_tokens_are_the_models_last_ones_without_the_class_token(dino: Path) -> None:
    tokens = PatchTokens.load(str(dino))(images())
    assert tokens.shape == (2, 16, 16)
    assert tokens.dtype == torch.float32
    with torch.no_grad():
        states = Dinov2Model.from_pretrained(dino)(pixel_values=(images() / 255 - 0.5) / 0.25).last_hidden_state
    expected = states[:, 1:]
    torch.testing.assert_close(tokens, expected, rtol=1e-4, atol=1e-4)


def test_an_images_border_is_seen_where_the_processor_would_crop_it(dino: Path) -> None:
    changed = images()
    changed[:, :, 0] = 0  # above what a centre crop of 32 of 40 px leaves
    tokens = PatchTokens.load(str(dino))
    assert (tokens(changed) - tokens(images())).abs().max() > 1e-3


def test_other_vision_transformers_have_patch_tokens_too(tmp_path: Path) -> None:
    clip = PatchTokens.load(save_tiny_clip(tmp_path / "clip"))(images())
    assert clip.shape == (2, 16, 32)
    config = ViTConfig(
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
        image_size=SIDE,
        patch_size=8,
    )
    vit = ViTModel(config, add_pooling_layer=False)  # as DINO's checkpoints are
    fill_with_noise(vit, seed=1).save_pretrained(tmp_path / "vit")
    ViTImageProcessor(size={"height": SIDE, "width": SIDE}).save_pretrained(tmp_path / "vit")
    assert PatchTokens.load(str(tmp_path / "vit"))(images()).shape == (2, 16, 16)
    with pytest.raises(UserError, match="lacks 2 weights of ViTModel, among them pooler"):
        PooledFeatures.load(str(tmp_path / "vit"))


def test_a_model_without_patches_is_the_users_mistake(tmp_path: Path) -> None:
    config = ResNetConfig(embedding_size=8, hidden_sizes=[8], depths=[1], layer_type="basic")
    fill_with_noise(ResNetModel(config), seed=2).save_pretrained(tmp_path)
    ViTImageProcessor(size={"height": SIDE, "width": SIDE}).save_pretrained(tmp_path)
    assert PooledFeatures.load(str(tmp_path))(images()).shape == (2, 8)
    with pytest.raises(UserError, match="a ResNetModel has no patch tokens"):
        PatchTokens.load(str(tmp_path))
