"""A tiny CLIP checkpoint of the real architecture and formats."""

from pathlib import Path
from string import ascii_lowercase

from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel, CLIPProcessor, CLIPTokenizer

from tests.deterministic_weights import fill_with_noise

CLIP_SIDE = 32
CLIP_TEXT_LENGTH = 24


def letter_clip_tokenizer() -> CLIPTokenizer:
    """Make a CLIP tokenizer that spells every word in letters."""
    pieces = [*ascii_lowercase, *(f"{letter}</w>" for letter in ascii_lowercase), "<|startoftext|>", "<|endoftext|>"]
    vocabulary = {piece: index for index, piece in enumerate(pieces)}
    return CLIPTokenizer(vocab=vocabulary, merges=[], model_max_length=CLIP_TEXT_LENGTH)


def save_tiny_clip(folder: Path) -> str:
    """Save a CLIPModel and its processor."""
    tokenizer = letter_clip_tokenizer()
    shared = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
    config = CLIPConfig(
        text_config={
            **shared,
            "vocab_size": len(tokenizer),
            "max_position_embeddings": CLIP_TEXT_LENGTH,
            "bos_token_id": tokenizer.bos_token_id,
            "eos_token_id": tokenizer.eos_token_id,
            "pad_token_id": tokenizer.pad_token_id,
        },
        vision_config={**shared, "image_size": CLIP_SIDE, "patch_size": 8},
        projection_dim=16,
    )
    fill_with_noise(CLIPModel(config), seed=8).save_pretrained(folder)
    crop = {"height": CLIP_SIDE, "width": CLIP_SIDE}
    image_processor = CLIPImageProcessor(size={"shortest_edge": CLIP_SIDE}, crop_size=crop)
    CLIPProcessor(image_processor, tokenizer).save_pretrained(folder)
    return str(folder)
