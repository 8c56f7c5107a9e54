"""Tiny FluxPipelines with random weights: like FLUX.1 dev and like schnell.

Images are 32x32 px, latents 4 x 8x8, packed 2x2; 40 tokens for T5. Two double blocks and two single ones.
"""

from pathlib import Path
from typing import Any

from diffusers import FlowMatchEulerDiscreteScheduler, FluxPipeline, FluxTransformer2DModel
from transformers import CLIPTextModel, T5Config, T5EncoderModel

from tests.tiny_models import LATENT_CHANNELS, TEXT_WIDTH, autoencoder, clip_tokenizer, filled, text_config
from tests.tiny_pipelines import letters

FLUX_T5_TOKENS = 40
T5_WIDTH = 24


def save_tiny_flux_dev(folder: Path, *, seed: int = 21, **changes: Any) -> Path:
    """Save a pipeline like FLUX.1 dev: embedded guidance, a shift that grows with the image."""
    return _save(folder, seed, {"use_dynamic_shifting": True, "shift": 3.0}, guidance_embeds=True, **changes)


def save_tiny_flux_schnell(folder: Path, *, seed: int = 22, **changes: Any) -> Path:
    """Save a pipeline like FLUX.1 schnell: no guidance, no shift."""
    return _save(folder, seed, {"shift": 1.0}, **changes)


def _save(folder: Path, seed: int, schedule: dict[str, Any], **changes: Any) -> Path:
    tokenizer = clip_tokenizer()
    t5 = T5Config(vocab_size=30, d_model=T5_WIDTH, d_kv=8, d_ff=32, num_layers=2, num_heads=2, is_decoder=False)
    scheduler: Any = FlowMatchEulerDiscreteScheduler
    kind: Any = FluxPipeline  # annotates its optional parts as required
    pipeline = kind(
        transformer=filled(_transformer(**changes), seed),
        scheduler=scheduler(**schedule),
        vae=autoencoder(
            seed,
            scaling_factor=0.3611,
            shift_factor=0.1159,
            force_upcast=False,
            use_quant_conv=False,
            use_post_quant_conv=False,
        ),
        text_encoder=filled(CLIPTextModel(text_config(tokenizer)), seed),
        tokenizer=tokenizer,
        text_encoder_2=filled(T5EncoderModel(t5), seed),
        tokenizer_2=letters(model_max_length=FLUX_T5_TOKENS),
    )
    pipeline.save_pretrained(folder)
    return folder


def _transformer(**changes: Any) -> FluxTransformer2DModel:
    config: dict[str, Any] = {
        "in_channels": 4 * LATENT_CHANNELS,
        "num_layers": 2,
        "num_single_layers": 2,
        "attention_head_dim": 16,
        "num_attention_heads": 2,
        "joint_attention_dim": T5_WIDTH,
        "pooled_projection_dim": TEXT_WIDTH,
        "axes_dims_rope": (4, 6, 6),
    }
    return FluxTransformer2DModel(**config | changes)
