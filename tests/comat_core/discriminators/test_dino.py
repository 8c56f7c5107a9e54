from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import (
    BitImageProcessor,
    Dinov2Config,
    Dinov2Model,
    PreTrainedModel,
    ViTConfig,
    ViTImageProcessor,
    ViTModel,
)

from comat_core.discriminators import DinoDiscriminator, Dinov2Discriminator
from comat_core.support.errors import UserError
from comat_core.support.randomness import make_generator
from tests.deterministic_weights import fill_with_noise

SIZES: dict[str, Any] = {
    "hidden_size": 16,
    "num_hidden_layers": 5,
    "num_attention_heads": 2,
    "patch_size": 8,
    "image_size": 32,
}


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Tiny checkpoints, saved as the real ones are: DINOv2 crops after resizing, DINO comes without a pooler."""
    saved: dict[str, Path] = {}
    models: dict[str, PreTrainedModel] = {
        "dinov2": Dinov2Model(Dinov2Config(mlp_ratio=2, **SIZES)),
        "dino": ViTModel(ViTConfig(intermediate_size=32, **SIZES), add_pooling_layer=False),
    }
    processors = {
        "dinov2": BitImageProcessor(size={"shortest_edge": 36}, crop_size={"height": 32, "width": 32}),
        "dino": ViTImageProcessor(size={"height": 32, "width": 32}),
    }
    for kind, model in models.items():
        saved[kind] = tmp_path_factory.mktemp(kind)
        fill_with_noise(model, seed=0).save_pretrained(saved[kind])
        processors[kind].save_pretrained(saved[kind])
    return saved


CLASSES = {"dino": DinoDiscriminator, "dinov2": Dinov2Discriminator}


def images_of(side: int = 64, rows: int = 2) -> Tensor:
    return torch.rand(rows, 3, side, side, generator=make_generator(0, "images"))


def load(folders: dict[str, Path], kind: str, seed: int = 0) -> DinoDiscriminator:
    return CLASSES[kind].load(str(folders[kind]), seed=seed)


@pytest.mark.parametrize("kind", ["dinov2", "dino"])
def test_one_logit_per_patch_at_four_layers_down_to_the_last(folders: dict[str, Path], kind: str) -> None:
    discriminator = load(folders, kind)
    assert discriminator.layers == [1, 2, 4, 5]
    assert discriminator.score(images_of()).shape == (2, 4 * 16)


@pytest.mark.parametrize("kind", ["dinov2", "dino"])
def test_each_logit_is_its_layers_head_on_its_patch(folders: dict[str, Path], kind: str) -> None:
    discriminator, images = load(folders, kind), images_of()
    logits = discriminator.score(images).view(2, 4, 16)
    pixels = discriminator.preprocessing(images)
    hidden_states = discriminator.backbone(pixel_values=pixels, output_hidden_states=True).hidden_states
    for index, layer in enumerate([1, 2, 4, 5]):
        for patch in (0, 7, 15):
            token = hidden_states[layer][:, 1 + patch]  # the class token stands first
            expected = discriminator.heads[index](token).squeeze(-1)
            torch.testing.assert_close(logits[:, index, patch], expected)


def test_no_part_of_the_image_goes_unjudged(folders: dict[str, Path]) -> None:
    discriminator, images = load(folders, "dinov2"), images_of().requires_grad_()
    discriminator.score(images, frozen=True).square().sum().backward()
    assert images.grad is not None
    assert (images.grad.abs().sum(dim=1) > 0).all()


def test_on_the_generators_side_the_heads_get_no_gradient(folders: dict[str, Path]) -> None:
    discriminator, images = load(folders, "dinov2"), images_of().requires_grad_()
    discriminator.score(images, frozen=True).sum().backward()
    heads = discriminator.named_trainable_parameters().values()
    assert all(parameter.grad is None and parameter.requires_grad for parameter in heads)


def test_on_its_own_side_the_heads_alone_get_a_gradient(folders: dict[str, Path]) -> None:
    discriminator = load(folders, "dinov2")
    discriminator.score(images_of()).square().sum().backward()
    assert all(value.grad is not None for value in discriminator.named_trainable_parameters().values())
    assert all(value.grad is None and not value.requires_grad for value in discriminator.backbone.parameters())


def test_heads_start_from_the_seed_alone(folders: dict[str, Path]) -> None:
    images = images_of()
    first, again, other = (load(folders, "dino", seed).score(images) for seed in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_a_checkpoint_of_the_other_kind_is_refused(folders: dict[str, Path]) -> None:
    with pytest.raises(UserError, match="not a ViTModel"):
        DinoDiscriminator.load(str(folders["dinov2"]), seed=0)
