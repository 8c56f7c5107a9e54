"""FLUX.2 klein, base and distilled: FLUX.1's kind of transformer, with a chat model that reads the prompt as a message.

The base models are guided away from the empty prompt; the distilled ones know no guidance.
"""

from typing import TYPE_CHECKING, Final

from comat_core.backbones.checkpoints.scheduler_classes import SCHEDULERS_OF_FLOWS
from comat_core.backbones.family import Family, TextStream

if TYPE_CHECKING:
    from comat_core.backbones.families.flux2_klein.backbone import Flux2Klein

PROMPT_LENGTH: Final = 512
"""Tokens with the message around the prompt, unless the tokenizer knows fewer; the stock pipeline's own default."""
MESSAGE_BEGINS: Final = "<|im_start|>user\n"
"""What the chat template of Qwen3 puts before a prompt."""


def _backbone_class() -> "type[Flux2Klein]":
    from comat_core.backbones.families.flux2_klein.backbone import Flux2Klein

    return Flux2Klein


_PARTS: Final = {
    "vae": ("AutoencoderKLFlux2",),
    "text_encoder": ("Qwen3ForCausalLM",),
    "tokenizer": ("Qwen2TokenizerFast", "Qwen2Tokenizer"),
    "transformer": ("Flux2Transformer2DModel",),
    "scheduler": SCHEDULERS_OF_FLOWS,
}

FAMILIES: Final = {
    "Flux2KleinPipeline": Family(
        _PARTS,
        (TextStream("tokenizer", "text_encoder", longest=PROMPT_LENGTH, prefix=MESSAGE_BEGINS),),
        _backbone_class,
    )
}
