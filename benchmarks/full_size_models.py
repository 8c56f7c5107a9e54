"""The published architectures by their configs, with random weights and tokenizers that spell in letters."""

from dataclasses import dataclass
from pathlib import Path
from string import ascii_lowercase
from typing import Any

from diffusers import AutoencoderKL, DDPMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from transformers import (
    BertTokenizer,
    BlipConfig,
    BlipForConditionalGeneration,
    BlipImageProcessor,
    BlipProcessor,
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTokenizer,
)

PROMPT_LENGTH = 77
CROSS_DOWN, PLAIN_DOWN = "CrossAttnDownBlock2D", "DownBlock2D"
CROSS_UP, PLAIN_UP = "CrossAttnUpBlock2D", "UpBlock2D"


@dataclass(frozen=True)
class Sizes:
    """Everything in which the full and the tiny networks differ."""

    resolution: int
    rank: int
    vae_scale_factor: int
    unet: dict[str, Any]
    sdxl_unet: dict[str, Any]
    autoencoder: dict[str, Any]
    text_encoder: dict[str, Any]
    blip_vision: dict[str, Any]
    blip_text: dict[str, Any]


def full_sizes() -> Sizes:
    """The published configs: SD 1.5 and SDXL base of diffusers, CLIP ViT-L/14's text encoder, BLIP large."""
    shared = {"sample_size": 64, "in_channels": 4, "out_channels": 4, "layers_per_block": 2, "norm_num_groups": 32}
    return Sizes(
        resolution=512,
        rank=128,
        vae_scale_factor=8,
        unet=shared
        | {
            "block_out_channels": (320, 640, 1280, 1280),
            "down_block_types": (CROSS_DOWN, CROSS_DOWN, CROSS_DOWN, PLAIN_DOWN),
            "up_block_types": (PLAIN_UP, CROSS_UP, CROSS_UP, CROSS_UP),
            "attention_head_dim": 8,
            "cross_attention_dim": 768,
        },
        sdxl_unet=shared
        | {
            "sample_size": 128,
            "block_out_channels": (320, 640, 1280),
            "down_block_types": (PLAIN_DOWN, CROSS_DOWN, CROSS_DOWN),
            "up_block_types": (CROSS_UP, CROSS_UP, PLAIN_UP),
            "attention_head_dim": (5, 10, 20),
            "cross_attention_dim": 2048,
            "transformer_layers_per_block": (1, 2, 10),
            "use_linear_projection": True,
            "addition_embed_type": "text_time",
            "addition_time_embed_dim": 256,
            "projection_class_embeddings_input_dim": 2816,
        },
        autoencoder={"block_out_channels": (128, 256, 512, 512), "layers_per_block": 2, "norm_num_groups": 32},
        text_encoder={
            "hidden_size": 768,
            "intermediate_size": 3072,
            "num_hidden_layers": 12,
            "num_attention_heads": 12,
            "projection_dim": 768,
            "vocab_size": 49408,
        },
        blip_vision={
            "hidden_size": 1024,
            "intermediate_size": 4096,
            "num_hidden_layers": 24,
            "num_attention_heads": 16,
            "image_size": 384,
            "patch_size": 16,
        },
        blip_text={
            "hidden_size": 768,
            "encoder_hidden_size": 1024,
            "intermediate_size": 3072,
            "num_hidden_layers": 12,
            "num_attention_heads": 12,
            "vocab_size": 30524,
            "max_position_embeddings": 512,
        },
    )


def tiny_sizes() -> Sizes:
    """The same kinds of networks, a thousandth of the size."""
    full = full_sizes()
    small = {"norm_num_groups": 4, "layers_per_block": 1}
    vision = {"hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    return Sizes(
        resolution=64,
        rank=4,
        vae_scale_factor=8,
        unet=full.unet
        | small
        | {"block_out_channels": (8, 8, 16, 16), "attention_head_dim": 2, "cross_attention_dim": 16},
        sdxl_unet=full.sdxl_unet
        | small
        | {
            "block_out_channels": (8, 8, 16),
            "attention_head_dim": (1, 2, 2),
            "cross_attention_dim": 32,
            "transformer_layers_per_block": (1, 1, 2),
            "addition_time_embed_dim": 8,
            "projection_class_embeddings_input_dim": 6 * 8 + 16,
        },
        autoencoder={"block_out_channels": (8, 8, 16, 16), "layers_per_block": 1, "norm_num_groups": 4},
        text_encoder=full.text_encoder
        | {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2},
        blip_vision=vision | {"image_size": 32, "patch_size": 8},
        blip_text=vision | {"encoder_hidden_size": 32, "vocab_size": 512, "max_position_embeddings": 64},
    )


def save_stable_diffusion(folder: Path, sizes: Sizes) -> Path:
    """Save a pipeline like Stable Diffusion 1.5."""
    stable_diffusion(sizes, beta_scheduler()).save_pretrained(folder)
    return folder


def stable_diffusion(sizes: Sizes, scheduler: Any) -> StableDiffusionPipeline:
    """Make a pipeline like Stable Diffusion 1.5 (no safety checker), in the default precision.

    Args:
        scheduler: apart from the networks, which may be made without data or elsewhere.
    """
    tokenizer: Any = letter_tokenizer(sizes.text_encoder["vocab_size"])
    return StableDiffusionPipeline(
        vae=autoencoder(sizes, scaling_factor=0.18215),
        text_encoder=CLIPTextModel(
            CLIPTextConfig(
                **sizes.text_encoder,
                max_position_embeddings=PROMPT_LENGTH,
                bos_token_id=tokenizer.bos_token_id,
                eos_token_id=tokenizer.eos_token_id,
                pad_token_id=tokenizer.pad_token_id,
            )
        ),
        tokenizer=tokenizer,
        unet=UNet2DConditionModel(**sizes.unet),
        scheduler=scheduler,
        safety_checker=None,  # pyright: ignore[reportArgumentType]
        feature_extractor=None,  # pyright: ignore[reportArgumentType]
        requires_safety_checker=False,
    )


def autoencoder(sizes: Sizes, **settings: Any) -> Any:
    """Of 4 channels, as Stable Diffusion 1.5 and SDXL have it but for the scale of its latents."""
    kind: Any = AutoencoderKL  # diffusers annotates its tuples as of one element
    levels = len(sizes.autoencoder["block_out_channels"])
    return kind(
        down_block_types=("DownEncoderBlock2D",) * levels,
        up_block_types=("UpDecoderBlock2D",) * levels,
        latent_channels=4,
        sample_size=sizes.resolution,
        **sizes.autoencoder,
        **settings,
    )


def beta_scheduler() -> Any:
    """The noise levels of Stable Diffusion 1.5 and SDXL."""
    kind: Any = DDPMScheduler
    return kind(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", clip_sample=False, steps_offset=1)


def save_blip(folder: Path, sizes: Sizes) -> str:
    """Save a BlipForConditionalGeneration and its processor."""
    pieces = [*_BLIP_SPECIAL, *ascii_lowercase, *(f"##{letter}" for letter in ascii_lowercase)]
    tokenizer = BertTokenizer(vocab={piece: index for index, piece in enumerate(pieces)}, do_lower_case=True)
    BlipForConditionalGeneration(blip_config(sizes)).save_pretrained(folder)
    side = {"height": sizes.blip_vision["image_size"], "width": sizes.blip_vision["image_size"]}
    BlipProcessor(BlipImageProcessor(size=side), tokenizer).save_pretrained(folder)
    return str(folder)


def blip_config(sizes: Sizes) -> BlipConfig:
    """Of the captioner."""
    numbers = {name: _BLIP_SPECIAL.index(token) for name, token in _BLIP_TOKENS.items()}
    return BlipConfig(text_config=sizes.blip_text | numbers, vision_config=sizes.blip_vision, projection_dim=256)


def sdxl_unet(sizes: Sizes) -> UNet2DConditionModel:
    """SDXL's UNet, on the default device and in the default precision."""
    return UNet2DConditionModel(**sizes.sdxl_unet)


_BLIP_SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "[DEC]", "[ENC]"]
_BLIP_TOKENS = {"bos_token_id": "[DEC]", "eos_token_id": "[SEP]", "sep_token_id": "[SEP]", "pad_token_id": "[PAD]"}


def letter_tokenizer(vocabulary_size: int) -> CLIPTokenizer:
    """A CLIP tokenizer that spells every word; its last two tokens are the start and the end, as in the original."""
    pieces = [*ascii_lowercase, *(f"{letter}</w>" for letter in ascii_lowercase)]
    vocabulary = {piece: index for index, piece in enumerate(pieces)}
    vocabulary |= {"<|startoftext|>": vocabulary_size - 2, "<|endoftext|>": vocabulary_size - 1}
    kind: Any = CLIPTokenizer
    return kind(vocab=vocabulary, merges=[], model_max_length=PROMPT_LENGTH)
