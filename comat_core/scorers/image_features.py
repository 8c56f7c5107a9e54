"""Networks that turn images into the features of which a Frechet distance is taken.

Both kinds are modules from bytes to features, which is what torchmetrics expects of a feature extractor.
"""

import hashlib
from inspect import signature
from pathlib import Path
from typing import Any, Final

import torch
import transformers
from torch import Tensor, nn

from comat_core.segmenters.checkpoints import read_checkpoint
from comat_core.support.errors import UserError
from comat_core.support.image_preprocessing import ImagePreprocessing
from comat_core.support.pretrained import load_frozen_model, load_image_processor, read_model_config

INCEPTION_SHA256: Final = "6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2"
"""Of the published file, weights-inception-2015-12-05-6726825d.pth, alias pt_inception-2015-12-05-6726825d.pth."""

INCEPTION_URL: Final = (
    "https://github.com/toshas/torch-fidelity/releases/download/v0.2.0/weights-inception-2015-12-05-6726825d.pth"
)

_FEATURES: Final = 2048


class PooledFeatures(nn.Module):
    """The pooled output of an image model's backbone: a ResNet, DINOv2, the image half of CLIP, …"""

    def __init__(self, backbone: Any, preprocess: ImagePreprocessing) -> None:
        super().__init__()
        self.backbone = backbone
        self.preprocess = preprocess

    @classmethod
    def load(cls, folder: str, *, revision: str | None = None, device: torch.device | str = "cpu") -> "PooledFeatures":
        """Load a transformers image model of any class, with its image processor.

        Raises:
            UserError: the folder holds no complete image model, or no image processor.
        """
        return cls(*_load_backbone(folder, revision, device))

    @torch.no_grad()
    def forward(self, images: Tensor) -> Tensor:
        """Turn images (B, 3, H, W) of bytes into features (B, D), float32."""
        pixels = self.preprocess(images.to(self.backbone.device) / 255)
        return self.backbone(pixel_values=pixels).pooler_output.flatten(1).float()


class PatchTokens(nn.Module):
    """The last layer's patch tokens of a vision transformer: DINOv2, DINO's ViT, the image half of CLIP, …

    They see what stands where, edges and texture included; a pooled output keeps what it was trained to tell.
    """

    def __init__(self, backbone: Any, preprocess: ImagePreprocessing) -> None:
        super().__init__()
        self.backbone = backbone
        self.preprocess = preprocess.without_crop()

    @classmethod
    def load(cls, folder: str, *, revision: str | None = None, device: torch.device | str = "cpu") -> "PatchTokens":
        """Load a transformers vision transformer of any class, with its image processor.

        Raises:
            UserError: the folder holds no complete vision transformer, or no image processor.
        """
        backbone, preprocess = _load_backbone(folder, revision, device, pooled=False)
        if not isinstance(getattr(backbone.config, "patch_size", None), int):
            advice = "use a vision transformer such as DINOv2"
            raise UserError(f"a {type(backbone).__name__} has no patch tokens", folder, advice)
        return cls(backbone, preprocess)

    @torch.no_grad()
    def forward(self, images: Tensor) -> Tensor:
        """Turn images (B, 3, H, W) of bytes into tokens (B, P, D), float32, row by row from the upper left."""
        pixels = self.preprocess(images.to(self.backbone.device) / 255)
        patch = self.backbone.config.patch_size
        patches = (pixels.shape[-2] // patch) * (pixels.shape[-1] // patch)
        tokens = self.backbone(pixel_values=pixels).last_hidden_state
        # Class and register tokens stand before the patches.
        return tokens[:, -patches:].float()


def _load_backbone(
    folder: str, revision: str | None, device: torch.device | str, *, pooled: bool = True
) -> tuple[Any, ImagePreprocessing]:
    """An image model without its head, whatever its class, and what its processor does.

    Args:
        pooled: its pooled output is wanted. DINO's checkpoints come without the layer that would make it.
    """
    advice = "use an image model such as DINOv2, saved with its image processor"
    architecture = (read_model_config(folder, revision, "no image model").architectures or [""])[0]
    model_class = getattr(transformers, architecture, None)
    if model_class is None:
        raise UserError(f"unknown architecture {architecture!r}", folder, advice)
    can_do_without = "add_pooling_layer" in signature(model_class.__init__).parameters
    options: dict[str, Any] = {"add_pooling_layer": False} if can_do_without and not pooled else {}
    model: Any = load_frozen_model(model_class, folder, revision=revision, device=device, **options)
    backbone = getattr(model.base_model, "vision_model", model.base_model)
    return backbone, ImagePreprocessing.from_processor(load_image_processor(folder, revision), folder)


def load_inception(
    weights: Path, *, sha256: str = INCEPTION_SHA256, antialias: bool = False, device: torch.device | str = "cpu"
) -> nn.Module:
    """Load the Inception of FID as torchmetrics has it: images (B, 3, H, W) of bytes to features (B, 2048), float32.

    Args:
        weights: the published file, or one of that layout.
        sha256: of the file.
        antialias: reduce images with antialiasing; FID was defined, and is mostly published, without.

    Raises:
        UserError: torch-fidelity is not installed; the file is missing, another one, or no state dict.
    """
    from torchmetrics.image.fid import FrechetInceptionDistance

    _check_weights(weights, sha256)
    try:
        metric = FrechetInceptionDistance(_FEATURES, feature_extractor_weights_path=str(weights), antialias=antialias)
    except ModuleNotFoundError as error:
        advice = "pip install torch-fidelity, or use an extractor of transformers"
        raise UserError("torch-fidelity is not installed", "extractor inception", advice) from error
    except RuntimeError as error:
        advice = f"get them from {INCEPTION_URL}"
        raise UserError("the file does not hold Inception's weights", str(weights), advice) from error
    return metric.inception.requires_grad_(False).to(device)


def _check_weights(weights: Path, sha256: str) -> None:
    """Make sure that it is the file meant and holds nothing but tensors, for the library unpickles what it is given."""
    advice = f"get it from {INCEPTION_URL}"
    if not weights.is_file():
        raise UserError("there are no Inception weights", str(weights), advice)
    with weights.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != sha256:
        raise UserError(f"the file has sha256 {found[:12]}… instead of {sha256[:12]}…", str(weights), advice)
    read_checkpoint(weights)
