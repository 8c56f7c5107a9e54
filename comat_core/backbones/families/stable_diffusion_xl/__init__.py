"""SDXL: a larger UNet, two CLIP text encoders, and the image's size as a condition."""

from typing import TYPE_CHECKING, Final

from comat_core.backbones.families.stable_diffusion import PARTS, STREAM
from comat_core.backbones.family import Family

if TYPE_CHECKING:
    from comat_core.backbones.families.stable_diffusion_xl.backbone import StableDiffusionXL


def _backbone_class() -> "type[StableDiffusionXL]":
    from comat_core.backbones.families.stable_diffusion_xl.backbone import StableDiffusionXL

    return StableDiffusionXL


_SECOND_ENCODER: Final = {
    "text_encoder_2": ("CLIPTextModelWithProjection",),
    "tokenizer_2": ("CLIPTokenizer", "CLIPTokenizerFast"),
}

# Both encoders read the same tokens and are joined on the channel axis, so that there is one stream.
FAMILIES: Final = {
    "StableDiffusionXLPipeline": Family(
        PARTS | _SECOND_ENCODER,
        (STREAM,),
        _backbone_class,
        left_out=("feature_extractor", "image_encoder"),
    )
}
