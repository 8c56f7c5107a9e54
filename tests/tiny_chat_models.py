"""Chat model checkpoints of the real architectures and formats, processor and chat template included."""

from pathlib import Path
from typing import Any

import pytest
from tokenizers import pre_tokenizers
from transformers import (
    GPT2Tokenizer,
    LlamaConfig,
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
    Qwen2_5_VLProcessor,
    Qwen2Tokenizer,
    Qwen2VLImageProcessor,
    Qwen2VLVideoProcessor,
    Qwen3VLConfig,
    Qwen3VLForConditionalGeneration,
    Qwen3VLProcessor,
    Qwen3VLVideoProcessor,
    SmolVLMConfig,
    SmolVLMForConditionalGeneration,
    SmolVLMImageProcessor,
    SmolVLMProcessor,
    SmolVLMVideoProcessor,
    SmolVLMVisionConfig,
)
from transformers.models.smolvlm import processing_smolvlm

from tests.deterministic_weights import fill_with_noise

MERGED = ("Yes", "No", "yes", "no", "ĠYes", "ĠNo", "red", "Ġred")
"""Words of one token; all others are read byte by byte. "Ġ" is a space in byte-level vocabularies."""
QWEN_TOKENS = ("<|im_start|>", "<|im_end|>", "<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>")
QWEN_CHAT_TEMPLATE = (
    "{% for message in messages %}{% if loop.first and message['role'] != 'system' %}"
    "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n{% endif %}<|im_start|>{{ message['role'] }}\n"
    "{% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}<|vision_start|><|image_pad|><|vision_end|>{% else %}{{ part['text'] }}{% endif %}"
    "{% endfor %}<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
SMOL_TOKENS = ("<|im_start|>", "<end_of_utterance>", "<fake_token_around_image>", "<global-img>", "<image>", "<video>")
SMOL_SQUARE = 16
"""Pixels along the side of the one square; the first resizing is to four times as many, as in the original."""


def save_tiny_qwen25_vl(folder: Path) -> str:
    """Save a Qwen2_5_VLForConditionalGeneration: patches of 4 px, windows of two tokens along a side, 2 + 2 layers."""
    tokenizer = _qwen_tokenizer()
    config = Qwen2_5_VLConfig(
        text_config={**_qwen_text(tokenizer), "rope_parameters": {"rope_type": "default", "mrope_section": [1, 1, 2]}},
        vision_config={
            **_qwen_vision(),
            "hidden_size": 16,
            "window_size": 16,
            "fullatt_block_indexes": [1],
            "hidden_act": "silu",
        },
        **_qwen_ids(tokenizer),
    )
    fill_with_noise(Qwen2_5_VLForConditionalGeneration(config), seed=21).save_pretrained(folder)
    processor: Any = Qwen2_5_VLProcessor
    processor(
        _qwen_image_processor(), tokenizer, Qwen2VLVideoProcessor(), chat_template=QWEN_CHAT_TEMPLATE
    ).save_pretrained(folder)
    return str(folder)


def save_tiny_qwen3_vl(folder: Path) -> str:
    """Save a Qwen3VLForConditionalGeneration: patches of 4 px, two depths of the tower read by the decoder."""
    tokenizer = _qwen_tokenizer()
    config = Qwen3VLConfig(
        text_config={
            **_qwen_text(tokenizer),
            "head_dim": 8,
            "rope_parameters": {"rope_type": "default", "mrope_section": [2, 1, 1], "mrope_interleaved": True},
        },
        vision_config={
            **_qwen_vision(),
            "depth": 3,
            "num_position_embeddings": 16,
            "deepstack_visual_indexes": [0, 1],
        },
        **_qwen_ids(tokenizer),
    )
    fill_with_noise(Qwen3VLForConditionalGeneration(config), seed=22).save_pretrained(folder)
    processor: Any = Qwen3VLProcessor
    processor(
        _qwen_image_processor(), tokenizer, Qwen3VLVideoProcessor(), chat_template=QWEN_CHAT_TEMPLATE
    ).save_pretrained(folder)
    return str(folder)


def save_tiny_smolvlm(folder: Path) -> str:
    """Save a SmolVLMForConditionalGeneration (SigLIP-like tower, Llama decoder), whose processor splits images."""
    tokenizer: Any = GPT2Tokenizer(**_byte_level(), unk_token="Ġ", bos_token="Ġ", eos_token="Ġ")
    tokenizer.add_special_tokens(
        {
            "bos_token": "<|im_start|>",
            "eos_token": "<end_of_utterance>",
            "pad_token": "<end_of_utterance>",
            "additional_special_tokens": [*SMOL_TOKENS[2:]],
        }
    )
    config = SmolVLMConfig(
        vision_config=SmolVLMVisionConfig(
            hidden_size=16,
            intermediate_size=32,
            num_hidden_layers=2,
            num_attention_heads=2,
            image_size=SMOL_SQUARE,
            patch_size=4,
        ),
        text_config=LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=32,
            intermediate_size=48,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=2,
            max_position_embeddings=400,
            pad_token_id=tokenizer.pad_token_id,
        ),
        image_token_id=tokenizer.convert_tokens_to_ids("<image>"),
        scale_factor=2,
    )
    model = fill_with_noise(SmolVLMForConditionalGeneration(config), seed=23)
    model.save_pretrained(folder)
    image_processor = SmolVLMImageProcessor(
        size={"longest_edge": 4 * SMOL_SQUARE}, max_image_size={"longest_edge": SMOL_SQUARE}
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(processing_smolvlm, "num2words", str)
        own_smol_processor(image_processor, tokenizer).save_pretrained(folder)
    return str(folder)


def own_smol_processor(image_processor: Any, tokenizer: Any) -> Any:
    """The processor that transformers gives SmolVLM; only where its package for the captions of videos is put in."""
    processor: Any = SmolVLMProcessor
    return processor(
        image_processor,
        tokenizer,
        SmolVLMVideoProcessor(),
        image_seq_len=(SMOL_SQUARE // 8) ** 2,
        chat_template=processing_smolvlm.DEFAULT_CHAT_TEMPLATE,
    )


SAVERS = {"qwen2_5_vl": save_tiny_qwen25_vl, "qwen3_vl": save_tiny_qwen3_vl, "smolvlm": save_tiny_smolvlm}
"""From a kind to what saves a checkpoint of it."""


def _byte_level() -> dict[str, Any]:
    """A vocabulary of single bytes and of the merged words, with the merges that lead to these."""
    pieces, merges = sorted(pre_tokenizers.ByteLevel.alphabet()), []
    for word in MERGED:
        letters = [(word[:end], word[end]) for end in range(1, len(word))]
        pairs = [("Ġ", word[1:])] if word[0] == "Ġ" else letters
        merges += pairs
        pieces += [first + second for first, second in pairs]
    return {"vocab": {piece: index for index, piece in enumerate(pieces)}, "merges": merges}


def _qwen_tokenizer() -> Any:
    tokenizer: Any = Qwen2Tokenizer(**_byte_level())
    tokenizer.add_special_tokens({"additional_special_tokens": [*QWEN_TOKENS], "eos_token": "<|im_end|>"})
    return tokenizer


def _qwen_ids(tokenizer: Any) -> dict[str, Any]:
    names = {
        "image_token_id": "<|image_pad|>",
        "video_token_id": "<|video_pad|>",
        "vision_start_token_id": "<|vision_start|>",
        "vision_end_token_id": "<|vision_end|>",
    }
    return {name: tokenizer.convert_tokens_to_ids(token) for name, token in names.items()}


def _qwen_text(tokenizer: Any) -> dict[str, Any]:
    return {
        "vocab_size": len(tokenizer),
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 400,
        "bos_token_id": None,
        "eos_token_id": tokenizer.eos_token_id,
    }


def _qwen_vision() -> dict[str, Any]:
    return {
        "depth": 2,
        "hidden_size": 16,
        "intermediate_size": 32,
        "num_heads": 2,
        "patch_size": 4,
        "spatial_merge_size": 2,
        "temporal_patch_size": 2,
        "out_hidden_size": 32,
    }


def _qwen_image_processor() -> Any:
    kind: Any = Qwen2VLImageProcessor
    return kind(size={"shortest_edge": 16 * 16, "longest_edge": 56 * 56}, patch_size=4, merge_size=2)
