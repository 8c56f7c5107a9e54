"""Tiny StableDiffusion3Pipelines with random weights: like 3 and like 3.5, whole or saved without T5.

Images are 32x32 px, latents 4 x 8x8, patches of 2x2; 24 tokens for CLIP and 40 for T5.
"""

from pathlib import Path
from typing import Any

from diffusers import FlowMatchEulerDiscreteScheduler, SD3Transformer2DModel, StableDiffusion3Pipeline
from transformers import CLIPTextModelWithProjection, T5Config, T5EncoderModel

from tests.tiny_models import LATENT_CHANNELS, LATENT_SIDE, TEXT_WIDTH, autoencoder, clip_tokenizer, filled, text_config
from tests.tiny_pipelines import letters

JOINT_WIDTH = 2 * TEXT_WIDTH + 8
"""Wider than both CLIPs together, so that they are padded as in the published models."""
T5_TOKENS = 40


def save_tiny_sd3(folder: Path, *, seed: int = 11, **changes: Any) -> Path:
    """Save a pipeline like Stable Diffusion 3: a static shift of 3, no normalised queries."""
    return _save(folder, seed, with_t5=True, **changes)


def save_tiny_sd3_without_t5(folder: Path, *, seed: int = 12) -> Path:
    """Save one without its third text encoder, as people do whose memory is small."""
    return _save(folder, seed, with_t5=False)


def save_tiny_sd35(folder: Path, *, seed: int = 13) -> Path:
    """Save a pipeline like Stable Diffusion 3.5 medium: normalised queries, and a second attention among pixels."""
    return _save(folder, seed, with_t5=True, qk_norm="rms_norm", dual_attention_layers=(0, 1))


def _save(folder: Path, seed: int, *, with_t5: bool, **changes: Any) -> Path:
    tokenizer = clip_tokenizer()
    t5 = T5Config(vocab_size=30, d_model=JOINT_WIDTH, d_kv=8, d_ff=32, num_layers=2, num_heads=2, is_decoder=False)
    kind: Any = StableDiffusion3Pipeline  # annotates its optional parts as required
    scheduler: Any = FlowMatchEulerDiscreteScheduler
    pipeline = kind(
        transformer=filled(_transformer(**changes), seed),
        scheduler=scheduler(shift=3.0),
        vae=autoencoder(seed, scaling_factor=1.5305, force_upcast=False, shift_factor=0.0609),
        text_encoder=filled(CLIPTextModelWithProjection(text_config(tokenizer)), seed),
        tokenizer=tokenizer,
        text_encoder_2=filled(CLIPTextModelWithProjection(text_config(tokenizer)), seed + 100),
        tokenizer_2=clip_tokenizer(),
        text_encoder_3=filled(T5EncoderModel(t5), seed) if with_t5 else None,
        tokenizer_3=letters(model_max_length=T5_TOKENS) if with_t5 else None,
    )
    pipeline.save_pretrained(folder)
    return folder


def _transformer(**changes: Any) -> SD3Transformer2DModel:
    config: dict[str, Any] = {
        "sample_size": LATENT_SIDE,
        "patch_size": 2,
        "in_channels": LATENT_CHANNELS,
        "out_channels": LATENT_CHANNELS,
        "num_layers": 3,
        "attention_head_dim": 8,
        "num_attention_heads": 2,
        "joint_attention_dim": JOINT_WIDTH,
        "caption_projection_dim": 16,
        "pooled_projection_dim": 2 * TEXT_WIDTH,
        "pos_embed_max_size": 16,
    }
    return SD3Transformer2DModel(**config | changes)
