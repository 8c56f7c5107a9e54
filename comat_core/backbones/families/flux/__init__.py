"""FLUX.1, dev and schnell: a transformer on squares of latents, trained by flow matching and distilled.

T5's tokens are the text axis; CLIP gives one vector for the whole prompt. Dev is told a guidance scale as it is told
the time, schnell knows no guidance.
"""

from typing import TYPE_CHECKING, Final

from comat_core.backbones.checkpoints.scheduler_classes import SCHEDULERS_OF_FLOWS
from comat_core.backbones.family import Family, TextStream

if TYPE_CHECKING:
    from comat_core.backbones.families.flux.backbone import Flux

T5_LENGTH: Final = 512
"""Tokens, unless the checkpoint's tokenizer knows fewer; the stock pipeline's own default."""


def _backbone_class() -> "type[Flux]":
    from comat_core.backbones.families.flux.backbone import Flux

    return Flux


_PARTS: Final = {
    "vae": ("AutoencoderKL",),
    "text_encoder": ("CLIPTextModel",),
    "text_encoder_2": ("T5EncoderModel",),
    "tokenizer": ("CLIPTokenizer", "CLIPTokenizerFast"),
    "tokenizer_2": ("T5Tokenizer", "T5TokenizerFast"),
    "transformer": ("FluxTransformer2DModel",),
    "scheduler": SCHEDULERS_OF_FLOWS,
}

FAMILIES: Final = {
    "FluxPipeline": Family(
        _PARTS,
        (TextStream("tokenizer_2", "text_encoder_2", longest=T5_LENGTH),),
        _backbone_class,
        left_out=("feature_extractor", "image_encoder"),
    )
}
