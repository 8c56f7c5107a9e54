"""SANA: a transformer with linear self-attention and with cross-attention to Gemma's tokens, trained by flow matching.

Its autoencoder divides the sides by 32. Every prompt stands behind an instruction to the language model.
"""

from typing import TYPE_CHECKING, Final

from comat_core.backbones.checkpoints.scheduler_classes import SCHEDULERS_OF_FLOWS_OR_SOLVERS
from comat_core.backbones.family import Family, TextStream

if TYPE_CHECKING:
    from comat_core.backbones.families.sana.backbone import Sana

LENGTH: Final = 300
"""Tokens; the stock pipeline's default."""

_PARTS: Final = {
    "vae": ("AutoencoderDC",),
    "text_encoder": ("Gemma2Model",),
    "tokenizer": ("GemmaTokenizer", "GemmaTokenizerFast"),
    "transformer": ("SanaTransformer2DModel",),
    "scheduler": SCHEDULERS_OF_FLOWS_OR_SOLVERS,
}


def _backbone_class() -> "type[Sana]":
    from comat_core.backbones.families.sana.backbone import Sana

    return Sana


def _instruction() -> str:
    from comat_core.backbones.families.sana.backbone import INSTRUCTION

    return "\n".join(INSTRUCTION)


_STREAM: Final = TextStream("tokenizer", "text_encoder", longest=LENGTH, instruction=_instruction, lower_case=True)

FAMILIES: Final = {"SanaPipeline": Family(_PARTS, (_STREAM,), _backbone_class)}
