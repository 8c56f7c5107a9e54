"""Bases of other families at the miniature's size, with random weights, on the miniature's autoencoder."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from diffusers import AutoencoderKL, DPMSolverMultistepScheduler, PixArtAlphaPipeline, PixArtTransformer2DModel
from transformers import T5Config, T5EncoderModel

from comat_core.settings import SchedulerName
from data.miniature_world.recipes.stable_diffusion_3 import (
    BLOCKS,
    HEADS,
    PROMPT_LENGTH,
    T5_WIDTH,
    WIDTH,
    build_flow_pipeline,
)
from data.miniature_world.recipes.tokenizers import build_t5_tokenizer

SEED: Final = 0


@dataclass(frozen=True)
class BenchmarkedFamily:
    """What a training step is timed on."""

    scheduler: SchedulerName
    make_pipeline: Callable[[Any], Any] | None
    """Told the autoencoder; None for the checkpoint in the folder of models."""


def pixart(autoencoder: Any) -> Any:
    """A PixArtAlphaPipeline as wide and deep as the miniature Stable Diffusion 3."""
    tokenizer = build_t5_tokenizer(SEED, PROMPT_LENGTH)
    heads: dict[str, Any] = {"d_kv": 16, "num_heads": 4, "num_layers": 2, "d_ff": 2 * T5_WIDTH}
    t5 = T5Config(vocab_size=len(tokenizer), d_model=T5_WIDTH, is_decoder=False, **heads)
    channels = autoencoder.config.latent_channels
    return PixArtAlphaPipeline(
        tokenizer=tokenizer,
        text_encoder=T5EncoderModel(t5),
        vae=autoencoder,
        transformer=PixArtTransformer2DModel(
            sample_size=16,
            patch_size=2,
            in_channels=channels,
            out_channels=2 * channels,
            num_layers=BLOCKS,
            num_attention_heads=HEADS,
            attention_head_dim=WIDTH // HEADS,
            cross_attention_dim=WIDTH,
            caption_channels=T5_WIDTH,
        ),
        scheduler=DPMSolverMultistepScheduler(),
    )


FAMILIES: Final = {
    "sd": BenchmarkedFamily("ddpm", None),
    "sd3": BenchmarkedFamily("flow-euler", lambda autoencoder: build_flow_pipeline(autoencoder, SEED)),
    "pixart": BenchmarkedFamily("dpm-solver++", pixart),
}


def base_of(family: BenchmarkedFamily, models: Path, folder: Path) -> Path:
    """The folder of a family's base: that of the models, or one made now.

    Args:
        models: holds "base", whose autoencoder the others take.
        folder: for what is made.
    """
    if family.make_pipeline is None:
        return models / "base"
    kind: Any = AutoencoderKL
    family.make_pipeline(kind.from_pretrained(models / "base" / "vae")).save_pretrained(folder)
    return folder
