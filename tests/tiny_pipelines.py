"""Pipelines of other kinds with random weights, for the tests of generators that are neither base nor tuned."""

from pathlib import Path
from typing import Any

from diffusers import DPMSolverMultistepScheduler, PixArtAlphaPipeline, PixArtTransformer2DModel
from transformers import T5Config, T5EncoderModel, T5Tokenizer

from tests.tiny_models import LATENT_CHANNELS, autoencoder, filled

TEXT_WIDTH = 16


def save_tiny_pixart(folder: Path, *, seed: int = 4) -> Path:
    """Save a PixArtAlphaPipeline whose own images are 128x128 px: a transformer as denoiser, T5 for the text."""
    tokenizer = letters()
    config = T5Config(
        vocab_size=len(tokenizer), d_model=TEXT_WIDTH, d_kv=8, d_ff=32, num_layers=2, num_heads=2, is_decoder=False
    )
    pipeline = PixArtAlphaPipeline(
        tokenizer=tokenizer,
        text_encoder=filled(T5EncoderModel(config), seed),
        vae=autoencoder(seed, scaling_factor=0.18215, force_upcast=False),
        transformer=filled(_transformer(), seed),
        scheduler=DPMSolverMultistepScheduler(),
    )
    pipeline.save_pretrained(folder)
    return folder


def _transformer() -> PixArtTransformer2DModel:
    return PixArtTransformer2DModel(
        sample_size=32,
        in_channels=LATENT_CHANNELS,
        out_channels=2 * LATENT_CHANNELS,
        num_layers=1,
        num_attention_heads=2,
        attention_head_dim=8,
        cross_attention_dim=16,
        caption_channels=TEXT_WIDTH,
    )


def letters(**settings: Any) -> Any:
    """A T5 tokenizer whose pieces are single letters."""
    pieces = ["<pad>", "</s>", "<unk>", "\u2581", *"abcdefghijklmnopqrstuvwxyz"]
    kind: Any = T5Tokenizer
    return kind(vocab=[(piece, -float(index)) for index, piece in enumerate(pieces)], extra_ids=0, **settings)
