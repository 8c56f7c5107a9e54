"""One tiny checkpoint or more of every family that can be trained, for the tests that all of them have to pass."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from peft import PeftModel

from comat_core.backbones.families.flux2_klein import MESSAGE_BEGINS
from tests.tiny_flux import FLUX_T5_TOKENS, save_tiny_flux_dev, save_tiny_flux_schnell
from tests.tiny_flux2 import KLEIN_TOKENS, save_tiny_flux2_klein, save_tiny_flux2_klein_distilled
from tests.tiny_models import save_tiny_sd, save_tiny_sd2, save_tiny_sdxl
from tests.tiny_pipelines import save_tiny_pixart_alpha, save_tiny_pixart_sigma
from tests.tiny_sana import kept_tokens, save_tiny_sana, save_tiny_sana15
from tests.tiny_sd3 import T5_TOKENS, save_tiny_sd3, save_tiny_sd3_without_t5, save_tiny_sd35


def padded_tokens(tokenizer: Any, prompt: str, length: int) -> list[int]:
    """All tokens of a prompt, cut off or padded to a length."""
    return tokenizer(prompt, padding="max_length", max_length=length, truncation=True).input_ids


@dataclass(frozen=True)
class TinyFamily:
    """How a tiny checkpoint is made, and sampled from as anybody would."""

    save: Callable[[Path], Path]
    scheduler: str
    """Name of a scheduler that the family is sampled with."""
    stock_options: Mapping[str, Any] = field(default_factory=dict)
    """Arguments of the stock pipeline's call, beside those that all take."""
    missing_parts: tuple[str, ...] = ()
    """Parts that the checkpoint is saved without, which the stock pipeline has to be told."""
    text_first: bool = False
    """Whether the prompt's tokens come before the image's in a joint softmax."""
    unheard_layers: tuple[str, ...] = ()
    """Adapted layers whose outputs the network itself throws away, so that no gradient reaches them."""
    kept_tokens: Callable[[Any, str, int], list[int]] = padded_tokens
    """Which tokens a tokenizer's part of the text axis stands for, told a prompt and the part's length."""
    load_lora: Callable[[Any, Path], None] = lambda pipeline, folder: pipeline.load_lora_weights(folder)
    """What users of the stock pipeline do with a LoRA's folder."""


AS_GIVEN: Final = {"clean_caption": False, "use_resolution_binning": False}
"""The prompt and the size that were asked for."""


def tokens_of_message(tokenizer: Any, prompt: str, length: int) -> list[int]:
    """FLUX.2 reads the prompt as a message to a language model."""
    return padded_tokens(tokenizer, MESSAGE_BEGINS + prompt, length)


def with_peft(pipeline: Any, folder: Path) -> None:
    """Load a LoRA into a transformer that diffusers itself cannot adapt."""
    PeftModel.from_pretrained(pipeline.transformer, str(folder))


_LAST_QUERIES_OF_TEXT: Final = ("transformer_blocks.2.attn.add_q_proj",)
"""Stable Diffusion 3's last block asks for the text's side of its attention, and keeps the image's alone."""

TINY_FAMILIES: Final[dict[str, TinyFamily]] = {
    "sd": TinyFamily(save_tiny_sd, "ddpm"),
    "sd2": TinyFamily(save_tiny_sd2, "ddim"),
    "sdxl": TinyFamily(save_tiny_sdxl, "ddpm"),
    "sd3": TinyFamily(
        save_tiny_sd3, "flow-euler", {"max_sequence_length": T5_TOKENS}, unheard_layers=_LAST_QUERIES_OF_TEXT
    ),
    "sd3 without t5": TinyFamily(
        save_tiny_sd3_without_t5,
        "flow-euler",
        missing_parts=("text_encoder_3", "tokenizer_3"),
        unheard_layers=_LAST_QUERIES_OF_TEXT,
    ),
    "sd35": TinyFamily(
        save_tiny_sd35, "flow-euler", {"max_sequence_length": T5_TOKENS}, unheard_layers=_LAST_QUERIES_OF_TEXT
    ),
    "flux dev": TinyFamily(save_tiny_flux_dev, "flow-euler", {"max_sequence_length": FLUX_T5_TOKENS}, text_first=True),
    "flux schnell": TinyFamily(
        save_tiny_flux_schnell, "flow-euler", {"max_sequence_length": FLUX_T5_TOKENS}, text_first=True
    ),
    "flux2 klein": TinyFamily(
        save_tiny_flux2_klein,
        "flow-euler",
        {"max_sequence_length": KLEIN_TOKENS},
        text_first=True,
        kept_tokens=tokens_of_message,
    ),
    "flux2 klein distilled": TinyFamily(
        save_tiny_flux2_klein_distilled,
        "flow-euler",
        {"max_sequence_length": KLEIN_TOKENS},
        text_first=True,
        kept_tokens=tokens_of_message,
    ),
    "pixart alpha": TinyFamily(save_tiny_pixart_alpha, "dpm-solver++", AS_GIVEN, load_lora=with_peft),
    "pixart sigma": TinyFamily(save_tiny_pixart_sigma, "ddim", AS_GIVEN, load_lora=with_peft),
    "sana": TinyFamily(save_tiny_sana, "flow-euler", AS_GIVEN, kept_tokens=kept_tokens),
    "sana 1.5": TinyFamily(save_tiny_sana15, "flow-euler", AS_GIVEN, kept_tokens=kept_tokens),
}
