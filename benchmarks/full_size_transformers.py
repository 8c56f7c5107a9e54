"""Published transformers by their configs, with random weights; text encoders of full width and, if asked, one layer.

The configs are those of `transformer/config.json` in stabilityai/stable-diffusion-3.5-medium,
PixArt-alpha/PixArt-XL-2-512x512 and black-forest-labs/FLUX.1-dev, the text encoders' those of the same checkpoints.
"""

from collections.abc import Callable
from dataclasses import dataclass
from string import ascii_lowercase
from typing import Any, Final

from diffusers import (
    AutoencoderKL,
    DPMSolverMultistepScheduler,
    FlowMatchEulerDiscreteScheduler,
    FluxPipeline,
    FluxTransformer2DModel,
    PixArtAlphaPipeline,
    PixArtTransformer2DModel,
    SD3Transformer2DModel,
    StableDiffusion3Pipeline,
)
from transformers import (
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTextModelWithProjection,
    T5Config,
    T5EncoderModel,
    T5Tokenizer,
)

from benchmarks.full_size_models import PROMPT_LENGTH, letter_tokenizer

SD35_MEDIUM: Final[dict[str, Any]] = {
    "sample_size": 128,
    "patch_size": 2,
    "in_channels": 16,
    "out_channels": 16,
    "num_layers": 24,
    "num_attention_heads": 24,
    "attention_head_dim": 64,
    "joint_attention_dim": 4096,
    "caption_projection_dim": 1536,
    "pooled_projection_dim": 2048,
    "pos_embed_max_size": 384,
    "qk_norm": "rms_norm",
    "dual_attention_layers": tuple(range(13)),
}
PIXART_ALPHA: Final[dict[str, Any]] = {
    "sample_size": 64,
    "patch_size": 2,
    "in_channels": 4,
    "out_channels": 8,
    "num_layers": 28,
    "num_attention_heads": 16,
    "attention_head_dim": 72,
    "cross_attention_dim": 1152,
    "caption_channels": 4096,
}
FLUX_DEV: Final[dict[str, Any]] = {
    "patch_size": 1,
    "in_channels": 64,
    "num_layers": 19,
    "num_single_layers": 38,
    "num_attention_heads": 24,
    "attention_head_dim": 128,
    "joint_attention_dim": 4096,
    "pooled_projection_dim": 768,
    "guidance_embeds": True,
}
_T5_XXL: Final[dict[str, Any]] = {"d_ff": 10240, "num_layers": 24, "num_heads": 64, "vocab_size": 32128}
_T5_ONE_LAYER: Final[dict[str, Any]] = {"d_ff": 64, "num_layers": 1, "num_heads": 1, "vocab_size": 64}
CLIP_L: Final[dict[str, Any]] = {
    "hidden_size": 768,
    "intermediate_size": 3072,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
}
CLIP_BIG_G: Final[dict[str, Any]] = {
    "hidden_size": 1280,
    "intermediate_size": 5120,
    "num_hidden_layers": 32,
    "num_attention_heads": 20,
}


@dataclass(frozen=True)
class PublishedModel:
    """One published model, or a small one of the same kind."""

    preset: str
    """Name of the preset that trains it."""
    config: dict[str, Any]
    """Of the transformer."""
    make_pipeline: Callable[[dict[str, Any], bool, Any], Any]
    """Told the transformer's config, whether the text encoders are whole, and a scheduler."""
    make_scheduler: Callable[[], Any]
    """Apart from the networks, which may be made without data."""
    small: dict[str, Any]
    """What a transformer of the same kind changes in the config to be small."""


def stable_diffusion_3(config: dict[str, Any], whole: bool, scheduler: Any) -> Any:
    """Make a StableDiffusion3Pipeline; without T5 unless it is to be whole."""
    kind: Any = StableDiffusion3Pipeline  # annotates its optional parts as required
    return kind(
        transformer=SD3Transformer2DModel(**config),
        scheduler=scheduler,
        vae=_autoencoder(16, scaling_factor=1.5305, shift_factor=0.0609),
        text_encoder=clip_text_encoder(CLIPTextModelWithProjection, CLIP_L, whole),
        tokenizer=letter_tokenizer(CLIP_VOCABULARY),
        text_encoder_2=clip_text_encoder(CLIPTextModelWithProjection, CLIP_BIG_G, whole),
        tokenizer_2=letter_tokenizer(CLIP_VOCABULARY),
        text_encoder_3=_t5(whole) if whole else None,
        tokenizer_3=_t5_tokenizer() if whole else None,
    )


def pixart_alpha(config: dict[str, Any], whole: bool, scheduler: Any) -> Any:
    """Make a PixArtAlphaPipeline."""
    return PixArtAlphaPipeline(
        tokenizer=_t5_tokenizer(),
        text_encoder=_t5(whole),
        vae=_autoencoder(4, scaling_factor=0.18215),
        transformer=PixArtTransformer2DModel(**config),
        scheduler=scheduler,
    )


def flux_dev(config: dict[str, Any], whole: bool, scheduler: Any) -> Any:
    """Make a FluxPipeline."""
    return FluxPipeline(
        scheduler=scheduler,
        vae=_autoencoder(16, scaling_factor=0.3611, shift_factor=0.1159),
        text_encoder=clip_text_encoder(CLIPTextModel, CLIP_L, whole),
        tokenizer=letter_tokenizer(CLIP_VOCABULARY),
        text_encoder_2=_t5(whole),
        tokenizer_2=_t5_tokenizer(),
        transformer=FluxTransformer2DModel(**config),
    )


def _flow_matching(**settings: Any) -> Any:
    kind: Any = FlowMatchEulerDiscreteScheduler
    return kind(shift=3.0, **settings)


CLIP_VOCABULARY: Final = 49408
PUBLISHED: Final = {
    "sd35": PublishedModel(
        "sd35-medium",
        SD35_MEDIUM,
        stable_diffusion_3,
        _flow_matching,
        {"num_layers": 3, "num_attention_heads": 2, "caption_projection_dim": 128, "dual_attention_layers": (0, 1)},
    ),
    "pixart": PublishedModel(
        "pixart-alpha",
        PIXART_ALPHA,
        pixart_alpha,
        DPMSolverMultistepScheduler,
        {"num_layers": 4, "num_attention_heads": 2, "cross_attention_dim": 144},
    ),
    "flux": PublishedModel(
        "flux-dev",
        FLUX_DEV,
        flux_dev,
        lambda: _flow_matching(use_dynamic_shifting=True),
        {"num_layers": 3, "num_single_layers": 2, "num_attention_heads": 1},
    ),
}


def _autoencoder(channels: int, **settings: Any) -> Any:
    """Of 16 channels without the layers around its latents, as published."""
    kind: Any = AutoencoderKL  # diffusers annotates its tuples as of one element
    return kind(
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        block_out_channels=(128, 256, 512, 512),
        layers_per_block=2,
        norm_num_groups=32,
        latent_channels=channels,
        use_quant_conv=channels == 4,
        use_post_quant_conv=channels == 4,
        **settings,
    )


def clip_text_encoder(kind: Any, size: dict[str, Any], whole: bool = True) -> Any:
    """A text encoder of CLIP, whole or of two layers."""
    layers: dict[str, Any] = {} if whole else {"num_hidden_layers": 2}  # the last but one is read
    return kind(
        CLIPTextConfig(
            **(size | layers),
            projection_dim=size["hidden_size"],
            vocab_size=CLIP_VOCABULARY,
            max_position_embeddings=PROMPT_LENGTH,
            bos_token_id=CLIP_VOCABULARY - 2,
            eos_token_id=CLIP_VOCABULARY - 1,
            pad_token_id=CLIP_VOCABULARY - 1,
        )
    )


def _t5(whole: bool) -> T5EncoderModel:
    size = _T5_XXL if whole else _T5_ONE_LAYER
    config = T5Config(**size, d_model=4096, d_kv=64, feed_forward_proj="gated-gelu", is_decoder=False)
    return T5EncoderModel(config)


def _t5_tokenizer() -> Any:
    """Spells every word in letters."""
    pieces = ["<pad>", "</s>", "<unk>", "\u2581", *ascii_lowercase]
    kind: Any = T5Tokenizer
    return kind(vocab=[(piece, -float(index)) for index, piece in enumerate(pieces)], extra_ids=0, model_max_length=512)
