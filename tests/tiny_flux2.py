"""Tiny Flux2KleinPipelines with random weights: like FLUX.2 klein base and like the distilled ones.

Images are 32x32 px, latents 16 x 4x4 (4 x 8x8 before they are packed), prompts 64 tokens with the message around them.
"""

from pathlib import Path
from typing import Any

import torch
from diffusers import (
    AutoencoderKLFlux2,
    FlowMatchEulerDiscreteScheduler,
    Flux2KleinPipeline,
    Flux2Transformer2DModel,
)
from tokenizers import pre_tokenizers
from transformers import Qwen2Tokenizer, Qwen3Config, Qwen3ForCausalLM

from comat_core.support.randomness import make_generator
from tests.tiny_models import IMAGE_SIDE, LATENT_CHANNELS, filled

KLEIN_TOKENS = 64
WIDTH = 8
LAYERS_READ = 3
"""Hidden states of so many of the chat model's layers are joined, the last of them those of layer 27."""
SPECIAL_TOKENS = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
CHAT_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def save_tiny_flux2_klein(folder: Path, *, seed: int = 31, is_distilled: bool = False, **changes: Any) -> Path:
    """Save a pipeline like FLUX.2 klein base, or like the distilled one."""
    tokenizer = chat_tokenizer()
    chat_model = Qwen3Config(
        vocab_size=len(tokenizer),
        hidden_size=WIDTH,
        intermediate_size=2 * WIDTH,
        num_hidden_layers=28,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=4,
        max_position_embeddings=2 * KLEIN_TOKENS,
    )
    scheduler: Any = FlowMatchEulerDiscreteScheduler
    kind: Any = Flux2KleinPipeline
    pipeline = kind(
        transformer=filled(_transformer(**changes), seed),
        scheduler=scheduler(use_dynamic_shifting=True, shift=3.0),
        vae=_autoencoder(seed),
        text_encoder=filled(Qwen3ForCausalLM(chat_model), seed),
        tokenizer=tokenizer,
        is_distilled=is_distilled,
    )
    pipeline.save_pretrained(folder)
    return folder


def save_tiny_flux2_klein_distilled(folder: Path, *, seed: int = 32) -> Path:
    """Save a pipeline like FLUX.2 klein, which knows no guidance."""
    return save_tiny_flux2_klein(folder, seed=seed, is_distilled=True)


def chat_tokenizer() -> Any:
    """Make a tokenizer of single bytes, with a template that puts a message around the prompt as Qwen's does."""
    pieces = [*sorted(pre_tokenizers.ByteLevel.alphabet()), *SPECIAL_TOKENS]
    kind: Any = Qwen2Tokenizer
    tokenizer = kind(
        vocab={piece: index for index, piece in enumerate(pieces)},
        merges=[],
        model_max_length=KLEIN_TOKENS,
        additional_special_tokens=list(SPECIAL_TOKENS[1:]),
    )
    tokenizer.chat_template = CHAT_TEMPLATE
    return tokenizer


def _autoencoder(seed: int) -> AutoencoderKLFlux2:
    kind: Any = AutoencoderKLFlux2
    autoencoder = filled(
        kind(
            down_block_types=("DownEncoderBlock2D",) * 3,
            up_block_types=("UpDecoderBlock2D",) * 3,
            block_out_channels=(8, 8, 16),
            latent_channels=LATENT_CHANNELS,
            norm_num_groups=4,
            sample_size=IMAGE_SIDE,
        ),
        seed,
    )
    channels = 4 * LATENT_CHANNELS
    autoencoder.bn.running_mean.copy_(0.3 * torch.randn(channels, generator=make_generator(seed, "mean")))
    autoencoder.bn.running_var.copy_(0.5 + torch.rand(channels, generator=make_generator(seed, "variance")))
    with torch.no_grad():
        autoencoder.decoder.conv_out.weight.mul_(0.5)
    return autoencoder


def _transformer(**changes: Any) -> Flux2Transformer2DModel:
    config: dict[str, Any] = {
        "in_channels": 4 * LATENT_CHANNELS,
        "num_layers": 2,
        "num_single_layers": 2,
        "attention_head_dim": 16,
        "num_attention_heads": 2,
        "joint_attention_dim": LAYERS_READ * WIDTH,
        "timestep_guidance_channels": 16,
        "axes_dims_rope": (4, 4, 4, 4),
        "guidance_embeds": False,
    }
    return Flux2Transformer2DModel(**config | changes)
