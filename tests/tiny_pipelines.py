"""Pipelines of other kinds with random weights, for the tests of generators that are neither base nor tuned."""

from pathlib import Path
from typing import Any

from diffusers import DPMSolverMultistepScheduler, PixArtAlphaPipeline, PixArtSigmaPipeline, PixArtTransformer2DModel
from transformers import T5Config, T5EncoderModel, T5Tokenizer

from tests.tiny_models import LATENT_CHANNELS, autoencoder, filled

TEXT_WIDTH = 16


def save_tiny_pixart(folder: Path, *, seed: int = 4, **changes: Any) -> Path:
    """Save a PixArtAlphaPipeline whose own images are 128x128 px: a transformer as denoiser, T5 for the text.

    Args:
        changes: to the transformer's config.
    """
    return _save(PixArtAlphaPipeline, folder, seed, **changes)


def save_tiny_pixart_alpha(folder: Path) -> Path:
    """Save one like the published for 1024 px, whose transformer is told the image's sizes."""
    return save_tiny_pixart(folder, sample_size=128, num_attention_heads=3, num_layers=3)


def save_tiny_pixart_sigma(folder: Path, *, seed: int = 14) -> Path:
    """Save a PixArtSigmaPipeline, for prompts of up to 300 tokens."""
    return _save(PixArtSigmaPipeline, folder, seed, num_layers=3)


def _save(kind: Any, folder: Path, seed: int, **changes: Any) -> Path:
    tokenizer = letters()
    config = T5Config(
        vocab_size=len(tokenizer), d_model=TEXT_WIDTH, d_kv=8, d_ff=32, num_layers=2, num_heads=2, is_decoder=False
    )
    pipeline = kind(
        tokenizer=tokenizer,
        text_encoder=filled(T5EncoderModel(config), seed),
        vae=autoencoder(seed, scaling_factor=0.18215, force_upcast=False),
        transformer=filled(_transformer(**changes), seed),
        scheduler=DPMSolverMultistepScheduler(),
    )
    pipeline.save_pretrained(folder)
    return folder


def _transformer(**changes: Any) -> PixArtTransformer2DModel:
    config: dict[str, Any] = {
        "sample_size": 32,
        "in_channels": LATENT_CHANNELS,
        "out_channels": 2 * LATENT_CHANNELS,
        "num_layers": 1,
        "num_attention_heads": 2,
        "attention_head_dim": 8,
        "caption_channels": TEXT_WIDTH,
    } | changes
    width = config["num_attention_heads"] * config["attention_head_dim"]
    return PixArtTransformer2DModel(**config, cross_attention_dim=width)


def letters(**settings: Any) -> Any:
    """A T5 tokenizer whose pieces are single letters."""
    pieces = ["<pad>", "</s>", "<unk>", "\u2581", *"abcdefghijklmnopqrstuvwxyz"]
    kind: Any = T5Tokenizer
    return kind(vocab=[(piece, -float(index)) for index, piece in enumerate(pieces)], extra_ids=0, **settings)
