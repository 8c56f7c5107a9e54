"""Tiny SanaPipelines with random weights: like 1.0 and like 1.5, with either scheduler.

Images are 32x32 px, latents 4 x 8x8, prompts 300 tokens behind the stock pipeline's instruction. The autoencoder halves
the sides twice, the published one five times.
"""

import string
from pathlib import Path
from typing import Any

from diffusers import (
    AutoencoderDC,
    DPMSolverMultistepScheduler,
    FlowMatchEulerDiscreteScheduler,
    SanaPipeline,
    SanaTransformer2DModel,
)
from transformers import Gemma2Config, Gemma2Model, GemmaTokenizer

from comat_core.backbones.families.sana.backbone import INSTRUCTION
from tests.tiny_models import LATENT_CHANNELS, LATENT_SIDE, TEXT_WIDTH, filled

SPACE = "\u2581"


def save_tiny_sana(folder: Path, *, seed: int = 20) -> Path:
    """Save a pipeline like 1.0: the noise levels of a flow under the name of a solver of betas."""
    kind: Any = DPMSolverMultistepScheduler
    solver = kind(prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=3.0)
    return _save(folder, seed, solver)


def save_tiny_sana15(folder: Path, *, seed: int = 16) -> Path:
    """Save a pipeline like 1.5: normalised queries and keys."""
    kind: Any = FlowMatchEulerDiscreteScheduler
    return _save(folder, seed, kind(shift=3.0), qk_norm="rms_norm_across_heads")


def gemma_tokenizer() -> Any:
    """A tokenizer whose pieces are single characters, and letters at the beginning of a word."""
    special = ["<pad>", "<eos>", "<bos>", "<unk>", "<mask>"]
    words = [SPACE + letter for letter in string.ascii_lowercase]
    pieces = [*special, SPACE, "\n", *(string.ascii_letters + string.digits + string.punctuation), *words]
    kind: Any = GemmaTokenizer  # annotated as taking the name of a file
    return kind(
        vocab={piece: index for index, piece in enumerate(pieces)}, merges=[(word[0], word[1]) for word in words]
    )


def kept_tokens(tokenizer: Any, prompt: str, length: int) -> list[int]:
    """The tokens whose hidden states the transformer is given: the first, and the last of instruction and prompt."""
    instruction = "\n".join(INSTRUCTION)
    whole = len(tokenizer(instruction).input_ids) + length - 2
    tokenizer.padding_side = "right"
    read = tokenizer(instruction + prompt, padding="max_length", max_length=whole, truncation=True).input_ids
    return [read[0], *read[-(length - 1) :]]


def _save(folder: Path, seed: int, scheduler: Any, **changes: Any) -> Path:
    tokenizer = gemma_tokenizer()
    gemma = Gemma2Config(
        vocab_size=len(tokenizer),
        hidden_size=TEXT_WIDTH,
        intermediate_size=2 * TEXT_WIDTH,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=8,
        query_pre_attn_scalar=8,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    pipeline = SanaPipeline(
        tokenizer=tokenizer,
        text_encoder=filled(Gemma2Model(gemma), seed),
        vae=_autoencoder(seed),
        transformer=filled(_transformer(**changes), seed),
        scheduler=scheduler,
    )
    pipeline.save_pretrained(folder)
    return folder


def _autoencoder(seed: int) -> AutoencoderDC:
    kind: Any = AutoencoderDC  # diffusers annotates its tuples as of one element
    blocks = ("ResBlock", "ResBlock", "EfficientViTBlock")
    return filled(
        kind(
            latent_channels=LATENT_CHANNELS,
            attention_head_dim=8,
            encoder_block_types=blocks,
            decoder_block_types=blocks,
            encoder_block_out_channels=(8, 8, 16),
            decoder_block_out_channels=(8, 8, 16),
            encoder_layers_per_block=(1, 1, 1),
            decoder_layers_per_block=(1, 1, 1),
            encoder_qkv_multiscales=((), (), (5,)),
            decoder_qkv_multiscales=((), (), (5,)),
            scaling_factor=0.41407,
        ),
        seed,
    )


def _transformer(**changes: Any) -> SanaTransformer2DModel:
    config: dict[str, Any] = {
        "in_channels": LATENT_CHANNELS,
        "out_channels": LATENT_CHANNELS,
        "num_attention_heads": 2,
        "attention_head_dim": 8,
        "num_layers": 3,
        "num_cross_attention_heads": 2,
        "cross_attention_head_dim": 8,
        "cross_attention_dim": 16,
        "caption_channels": TEXT_WIDTH,
        "sample_size": LATENT_SIDE,
        "patch_size": 1,
    }
    return SanaTransformer2DModel(**config | changes)
