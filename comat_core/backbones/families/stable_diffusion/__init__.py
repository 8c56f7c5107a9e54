"""Stable Diffusion 1.x and 2.x: a UNet told what to draw by one CLIP text encoder."""

from typing import TYPE_CHECKING, Final

from comat_core.backbones.checkpoints.scheduler_classes import SCHEDULERS_OF_BETAS
from comat_core.backbones.family import Family, TextStream

if TYPE_CHECKING:
    from comat_core.backbones.families.stable_diffusion.backbone import StableDiffusion

PARTS: Final = {
    "vae": ("AutoencoderKL",),
    "text_encoder": ("CLIPTextModel",),
    "tokenizer": ("CLIPTokenizer", "CLIPTokenizerFast"),
    "unet": ("UNet2DConditionModel",),
    "scheduler": SCHEDULERS_OF_BETAS,
}
STREAM: Final = TextStream("tokenizer", "text_encoder")


def _backbone_class() -> "type[StableDiffusion]":
    from comat_core.backbones.families.stable_diffusion.backbone import StableDiffusion

    return StableDiffusion


FAMILIES: Final = {
    "StableDiffusionPipeline": Family(
        PARTS, (STREAM,), _backbone_class, left_out=("safety_checker", "feature_extractor", "image_encoder")
    )
}
