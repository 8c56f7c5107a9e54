"""A discriminator on images: a frozen DINO transformer with small heads on the patch tokens of several layers."""

from typing import Any, ClassVar, Literal, Self

import torch
from torch import Tensor, nn
from transformers import Dinov2Model, PreTrainedModel, ViTModel

from comat_core.discriminators.heads import seeded_linear
from comat_core.discriminators.protocol import gradient_wanted
from comat_core.support.image_preprocessing import ImagePreprocessing
from comat_core.support.pretrained import load_frozen_model, load_processor
from comat_core.support.randomness import make_generator

HEADS = 4
HEAD_WIDTH = 64
"""Channels of a head's hidden layer."""


class DinoDiscriminator:
    """Score images by patch tokens of a self-supervised vision transformer.

    Tokens are read at `HEADS` layers spread evenly over the depth, the last one included: the early ones see
    texture, the late ones objects. Each layer has its own head: normalise, one hidden layer, one logit per patch.

    The transformer is DINO's ViT; its checkpoints come without the pooler that the class has by default.
    """

    backbone_class: ClassVar[type[PreTrainedModel]] = ViTModel
    backbone_options: ClassVar[dict[str, Any]] = {"add_pooling_layer": False}

    def __init__(self, backbone: PreTrainedModel, preprocessing: ImagePreprocessing, *, seed: int) -> None:
        """Put heads on a backbone.

        Args:
            backbone: DINOv2, or DINO's ViT; frozen by this call.
            preprocessing: of the backbone's checkpoint, with a fixed output size.
            seed: of the run; the heads start from it.
        """
        self.backbone = backbone.requires_grad_(False).eval()
        self.preprocessing = preprocessing.without_crop()
        depth, width = backbone.config.num_hidden_layers, backbone.config.hidden_size
        self.layers = sorted({round(depth * (index + 1) / HEADS) for index in range(HEADS)} - {0})
        self.heads = nn.ModuleList(_make_head(width, seed, layer) for layer in self.layers).to(backbone.device)

    @classmethod
    def load(
        cls,
        folder: str,
        *,
        seed: int,
        revision: str | None = None,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
    ) -> Self:
        """Load a backbone from a folder or hub id and put fresh heads on it.

        Args:
            seed: of the run; the heads start from it.

        Raises:
            UserError: no complete checkpoint of that class, or a processor that cannot be reproduced.
        """
        options = cls.backbone_options
        backbone = load_frozen_model(
            cls.backbone_class, folder, revision=revision, dtype=dtype, device=device, **options
        )
        preprocessing = ImagePreprocessing.from_processor(load_processor(folder, revision), folder)
        return cls(backbone, preprocessing, seed=seed)

    @property
    def networks(self) -> dict[str, nn.Module]:
        """The transformer."""
        return {"vision transformer": self.backbone}

    @property
    def reads(self) -> Literal["latents", "images"]:
        """Images (B, 3, H, W) in [0, 1], tails allowed."""
        return "images"

    def score(self, samples: Tensor, *, frozen: bool = False) -> Tensor:
        """Return logits (B, layers * patches)."""
        pixels = self.preprocessing(samples).to(self.backbone.dtype)
        patch = self.backbone.config.patch_size
        patches = (pixels.shape[-2] // patch) * (pixels.shape[-1] // patch)
        hidden_states = self.backbone(pixel_values=pixels, output_hidden_states=True).hidden_states
        with gradient_wanted(self.named_trainable_parameters(), not frozen):
            # Class and register tokens stand before the patches.
            logits = [
                head(hidden_states[layer][:, -patches:].float()).squeeze(-1)
                for layer, head in zip(self.layers, self.heads, strict=True)
            ]
        return torch.cat(logits, dim=1)

    def score_keeping(self, samples: Tensor) -> Tensor:
        """Score; nothing is ever recomputed."""
        return self.score(samples)

    def named_trainable_parameters(self) -> dict[str, nn.Parameter]:
        """The heads, in float32."""
        return dict(self.heads.named_parameters(prefix="heads"))


class Dinov2Discriminator(DinoDiscriminator):
    """The same on DINOv2."""

    backbone_class = Dinov2Model
    backbone_options: ClassVar[dict[str, Any]] = {}


def _make_head(width: int, seed: int, layer: int) -> nn.Sequential:
    """Tokens (B, N, width) -> logits (B, N, 1): normalise, one hidden layer."""
    generator = make_generator(seed, "discriminator head", layer)
    return nn.Sequential(
        nn.LayerNorm(width, elementwise_affine=False),
        seeded_linear(width, HEAD_WIDTH, generator),
        nn.LeakyReLU(0.2),
        seeded_linear(HEAD_WIDTH, 1, generator),
    )
