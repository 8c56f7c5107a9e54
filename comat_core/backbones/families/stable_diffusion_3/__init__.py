"""Stable Diffusion 3 and 3.5: a transformer in which image and text attend to each other, trained by flow matching.

Two CLIP encoders read the same tokens and are joined on the channel axis; T5, which may be left out, follows on the
axis of tokens. So a word has two spans.
"""

from typing import TYPE_CHECKING, Final

from comat_core.backbones.checkpoints.scheduler_classes import SCHEDULERS_OF_FLOWS
from comat_core.backbones.family import Family, TextStream

if TYPE_CHECKING:
    from comat_core.backbones.families.stable_diffusion_3.backbone import StableDiffusion3

T5_LENGTH: Final = 256
"""Tokens, unless the checkpoint's tokenizer knows fewer; the stock pipeline's own default."""


def _backbone_class() -> "type[StableDiffusion3]":
    from comat_core.backbones.families.stable_diffusion_3.backbone import StableDiffusion3

    return StableDiffusion3


_CLIP_TOKENIZER = ("CLIPTokenizer", "CLIPTokenizerFast")
_PARTS: Final = {
    "vae": ("AutoencoderKL",),
    "text_encoder": ("CLIPTextModelWithProjection",),
    "text_encoder_2": ("CLIPTextModelWithProjection",),
    "text_encoder_3": ("T5EncoderModel",),
    "tokenizer": _CLIP_TOKENIZER,
    "tokenizer_2": _CLIP_TOKENIZER,
    "tokenizer_3": ("T5Tokenizer", "T5TokenizerFast"),
    "transformer": ("SD3Transformer2DModel",),
    "scheduler": SCHEDULERS_OF_FLOWS,
}

FAMILIES: Final = {
    "StableDiffusion3Pipeline": Family(
        _PARTS,
        (
            TextStream("tokenizer", "text_encoder"),
            TextStream("tokenizer_3", "text_encoder_3", longest=T5_LENGTH),
        ),
        _backbone_class,
        optional_parts=("text_encoder_3", "tokenizer_3"),
        left_out=("feature_extractor", "image_encoder"),
    )
}
