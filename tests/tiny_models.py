"""Diffusion checkpoints of the real architectures and formats, with random weights, built in about a second.

Images are 32x32 px, latents 4 x 8x8, prompts 24 tokens; the UNet has cross-attention in its down, mid and up blocks, at
8x8 and 4x4. Three kinds: like Stable Diffusion 1.5, like 2.x (velocity prediction), like SDXL (two text encoders).
"""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any, TypeVar

import torch
from diffusers import (
    AutoencoderKL,
    DDPMScheduler,
    StableDiffusionPipeline,
    StableDiffusionXLPipeline,
    UNet2DConditionModel,
)
from tokenizers import pre_tokenizers, trainers
from torch import nn
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

from comat_core.support.randomness import make_generator

Module = TypeVar("Module", bound=nn.Module)

IMAGE_SIDE = 32
LATENT_SIDE = 8
LATENT_CHANNELS = 4
PROMPT_LENGTH = 24
TEXT_WIDTH = 16
TOKENIZER_CORPUS = (
    "a red circle and a striped blue square",
    "a green star to the left of a white heart",
    "a dotted yellow triangle above a purple cross",
    "an orange square below a black circle to the right of a green triangle",
    "the photographs of two motorcycles and a wooden table",
)


def clip_tokenizer(corpus: Iterable[str] = TOKENIZER_CORPUS, merges: int = 100) -> CLIPTokenizer:
    """Train a CLIP tokenizer: byte-level BPE with "</w>" word ends, able to encode every text.

    Its vocabulary is laid out as the original's: bytes, bytes that end a word, merges, start and end token.
    """
    backend = CLIPTokenizer().backend_tokenizer
    byte_level = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(
        vocab_size=2 * len(byte_level) + merges,
        initial_alphabet=byte_level,
        end_of_word_suffix="</w>",
        show_progress=False,
    )
    backend.train_from_iterator(corpus, trainer)
    learned = json.loads(backend.to_str())["model"]["merges"][:merges]
    tokens = [*byte_level, *(f"{byte}</w>" for byte in byte_level), *(left + right for left, right in learned)]
    tokens += ["<|startoftext|>", "<|endoftext|>"]
    kind: Any = CLIPTokenizer  # annotated as taking merges in one text
    return kind(
        vocab={token: index for index, token in enumerate(tokens)},
        merges=[(left, right) for left, right in learned],
        model_max_length=PROMPT_LENGTH,
    )


def save_tiny_sd(folder: Path, *, prediction_type: str = "epsilon", seed: int = 1) -> Path:
    """Save a StableDiffusionPipeline like 1.5 (no safety checker)."""
    return _save_stable_diffusion(folder, prediction_type, seed, _unet(seed))


def save_tiny_sd2(folder: Path, *, seed: int = 2) -> Path:
    """Save a StableDiffusionPipeline like 2.1: velocity prediction, linear projections around the attention."""
    unet = _unet(seed, use_linear_projection=True, attention_head_dim=[2, 4])
    return _save_stable_diffusion(folder, "v_prediction", seed, unet)


def save_tiny_deep_sd(folder: Path, *, seed: int = 5) -> Path:
    """Save a StableDiffusionPipeline for 64x64 px with three levels, so that the UNet attends at 16x16, 8x8 and 4x4."""
    levels = {"down_block_types": ("CrossAttnDownBlock2D",) * 3, "up_block_types": ("CrossAttnUpBlock2D",) * 3}
    unet = _unet(seed, sample_size=2 * LATENT_SIDE, block_out_channels=(8, 8, 16), **levels)
    return _save_stable_diffusion(folder, "epsilon", seed, unet)


def save_tiny_sdxl(folder: Path, *, seed: int = 3) -> Path:
    """Save a StableDiffusionXLPipeline: two text encoders, size conditioning, two transformer layers at the bottom."""
    tokenizer = clip_tokenizer()
    unet = _unet(
        seed,
        cross_attention_dim=2 * TEXT_WIDTH,
        use_linear_projection=True,
        transformer_layers_per_block=[1, 2],
        addition_embed_type="text_time",
        addition_time_embed_dim=8,
        projection_class_embeddings_input_dim=6 * 8 + TEXT_WIDTH,
    )
    pipeline = StableDiffusionXLPipeline(
        vae=autoencoder(seed, scaling_factor=0.13025, force_upcast=True),
        text_encoder=filled(CLIPTextModel(text_config(tokenizer)), seed),
        text_encoder_2=filled(CLIPTextModelWithProjection(text_config(tokenizer)), seed + 100),
        tokenizer=tokenizer,
        tokenizer_2=clip_tokenizer(),
        unet=unet,
        scheduler=_scheduler("epsilon"),
        add_watermarker=False,
    )
    pipeline.save_pretrained(folder)
    return folder


def _save_stable_diffusion(folder: Path, prediction_type: str, seed: int, unet: UNet2DConditionModel) -> Path:
    tokenizer = clip_tokenizer()
    pipeline = StableDiffusionPipeline(
        vae=autoencoder(seed, scaling_factor=0.18215, force_upcast=False),
        text_encoder=filled(CLIPTextModel(text_config(tokenizer)), seed),
        tokenizer=tokenizer,
        unet=unet,
        scheduler=_scheduler(prediction_type),
        safety_checker=None,  # pyright: ignore[reportArgumentType]
        feature_extractor=None,  # pyright: ignore[reportArgumentType]
        requires_safety_checker=False,
    )
    pipeline.save_pretrained(folder)
    return folder


def _scheduler(prediction_type: str) -> Any:
    kind: Any = DDPMScheduler
    return kind(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        clip_sample=False,
        prediction_type=prediction_type,
        steps_offset=1,
    )


def text_config(tokenizer: Any) -> CLIPTextConfig:
    return CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=TEXT_WIDTH,
        intermediate_size=2 * TEXT_WIDTH,
        projection_dim=TEXT_WIDTH,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=PROMPT_LENGTH,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )


def autoencoder(seed: int, *, scaling_factor: float, force_upcast: bool, **changes: Any) -> AutoencoderKL:
    """Make an autoencoder that halves the sides twice."""
    kind: Any = AutoencoderKL  # diffusers annotates its tuples as of one element
    config: dict[str, Any] = {
        "down_block_types": ("DownEncoderBlock2D",) * 3,
        "up_block_types": ("UpDecoderBlock2D",) * 3,
        "block_out_channels": (8, 8, 16),
        "latent_channels": LATENT_CHANNELS,
        "norm_num_groups": 4,
        "sample_size": IMAGE_SIDE,
        "scaling_factor": scaling_factor,
        "force_upcast": force_upcast,
    }
    autoencoder = kind(**config | changes)
    filled(autoencoder, seed)
    with torch.no_grad():
        autoencoder.decoder.conv_out.weight.mul_(0.5)  # most of the image inside [-1, 1], some of it outside
    return autoencoder


def _unet(seed: int, **changes: Any) -> UNet2DConditionModel:
    config: dict[str, Any] = {
        "sample_size": LATENT_SIDE,
        "in_channels": LATENT_CHANNELS,
        "out_channels": LATENT_CHANNELS,
        "down_block_types": ("CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D"),
        "block_out_channels": (8, 16),
        "layers_per_block": 1,
        "attention_head_dim": 2,
        "cross_attention_dim": TEXT_WIDTH,
        "norm_num_groups": 4,
    }
    return filled(UNet2DConditionModel(**config | changes), seed)


@torch.no_grad()
def filled(module: Module, seed: int) -> Module:
    """Fill with noise that keeps activations of order one: scales about 1, biases about 0, matrices by their width."""
    for name, parameter in module.named_parameters():
        noise = torch.randn(parameter.shape, generator=make_generator(seed, "tiny weights", name))
        if parameter.dim() == 1:
            parameter.copy_(0.1 * noise + (1.0 if name.endswith("weight") else 0.0))
        else:
            parameter.copy_(noise / parameter[0].numel() ** 0.5)
    return module
