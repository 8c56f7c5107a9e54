"""PixArt-alpha and PixArt-Sigma: a transformer with cross-attention to T5's tokens, trained with a schedule of betas.

diffusers gives these pipelines no `load_lora_weights`; peft loads a LoRA into them:
`PeftModel.from_pretrained(pipeline.transformer, folder)`.
"""

from typing import TYPE_CHECKING, Final

from comat_core.backbones.checkpoints.scheduler_classes import SCHEDULERS_OF_BETAS
from comat_core.backbones.family import Family, TextStream

if TYPE_CHECKING:
    from comat_core.backbones.families.pixart.backbone import PixArt, PixArtSigma

ALPHA_LENGTH: Final = 120
"""Tokens; the stock pipeline's default."""
SIGMA_LENGTH: Final = 300

_PARTS: Final = {
    "vae": ("AutoencoderKL",),
    "text_encoder": ("T5EncoderModel",),
    "tokenizer": ("T5Tokenizer", "T5TokenizerFast"),
    # The published checkpoints name the class by what it was called before.
    "transformer": ("PixArtTransformer2DModel", "Transformer2DModel"),
    "scheduler": SCHEDULERS_OF_BETAS,
}


def _alpha_class() -> "type[PixArt]":
    from comat_core.backbones.families.pixart.backbone import PixArt

    return PixArt


def _sigma_class() -> "type[PixArtSigma]":
    from comat_core.backbones.families.pixart.backbone import PixArtSigma

    return PixArtSigma


def _stream(longest: int) -> TextStream:
    return TextStream("tokenizer", "text_encoder", longest=longest, lower_case=True)


FAMILIES: Final = {
    "PixArtAlphaPipeline": Family(_PARTS, (_stream(ALPHA_LENGTH),), _alpha_class),
    "PixArtSigmaPipeline": Family(_PARTS, (_stream(SIGMA_LENGTH),), _sigma_class),
}
