"""Captioner checkpoints of the real architectures and formats, small enough to be built and run in a blink."""

from pathlib import Path
from string import ascii_lowercase, ascii_uppercase
from typing import Any

from transformers import (
    BertTokenizer,
    BlipConfig,
    BlipForConditionalGeneration,
    BlipForQuestionAnswering,
    BlipImageProcessor,
    BlipProcessor,
    CLIPImageProcessor,
    CLIPVisionConfig,
    GitConfig,
    GitForCausalLM,
    GitProcessor,
    LlamaConfig,
    LlamaTokenizer,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaProcessor,
)

from tests.deterministic_weights import fill_with_noise

IMAGE_SIDE = 32
PATCH_SIDE = 8
WORDS = (
    *("a", "the", "of", "and", "to", "left", "right", "above", "below", "photography", "red", "green", "blue", "white"),
    *("striped", "circle", "square", "star", "yes", "no", "is", "there", "how", "many", "what", "dog", "cat", "hot"),
)
LLAVA_CHAT_TEMPLATE = (
    "{% for message in messages %}{{ message['role'].upper() + ': ' }}"
    "{% for part in message['content'] %}"
    "{{ '<image>\n' if part['type'] == 'image' else part['text'] + ' ' }}"
    "{% endfor %}{% endfor %}{% if add_generation_prompt %}{{ 'ASSISTANT:' }}{% endif %}"
)


def word_piece_tokenizer(extra_tokens: tuple[str, ...] = ()) -> BertTokenizer:
    """Make an uncased WordPiece tokenizer: whole words for `WORDS`, letters for all else."""
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS, *ascii_lowercase[1:], *".,?!-'"]
    pieces += [f"##{letter}" for letter in ascii_lowercase] + list(extra_tokens)
    return BertTokenizer(vocab={piece: index for index, piece in enumerate(pieces)}, do_lower_case=True)


def blip_config(tokenizer: BertTokenizer, *, label_smoothing: float = 0.0) -> BlipConfig:
    """Size a BLIP after a tokenizer; the start tokens [DEC] and [ENC] follow its vocabulary, as in the original."""
    text = {
        "vocab_size": len(tokenizer) + 2,
        "hidden_size": 32,
        "encoder_hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "max_position_embeddings": 40,
        "bos_token_id": len(tokenizer),
        "eos_token_id": 2,
        "pad_token_id": tokenizer.pad_token_id,
        "sep_token_id": tokenizer.sep_token_id,
        "label_smoothing": label_smoothing,
    }
    vision = {
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "image_size": IMAGE_SIDE,
        "patch_size": PATCH_SIDE,
    }
    return BlipConfig(text_config=text, vision_config=vision, label_smoothing=label_smoothing)


def blip_processor(tokenizer: BertTokenizer) -> BlipProcessor:
    """Make the processor that belongs to `blip_config`."""
    return BlipProcessor(BlipImageProcessor(size={"height": IMAGE_SIDE, "width": IMAGE_SIDE}), tokenizer)


def save_tiny_blip(folder: Path, *, label_smoothing: float = 0.0) -> str:
    """Save a BlipForConditionalGeneration and its processor."""
    tokenizer = word_piece_tokenizer()
    model = BlipForConditionalGeneration(blip_config(tokenizer, label_smoothing=label_smoothing))
    fill_with_noise(model, seed=1).save_pretrained(folder)
    blip_processor(tokenizer).save_pretrained(folder)
    return str(folder)


def save_tiny_question_answerer(folder: Path) -> str:
    """Save a BlipForQuestionAnswering and its processor."""
    tokenizer = word_piece_tokenizer()
    fill_with_noise(BlipForQuestionAnswering(blip_config(tokenizer)), seed=9).save_pretrained(folder)
    blip_processor(tokenizer).save_pretrained(folder)
    return str(folder)


def save_tiny_git(folder: Path) -> str:
    """Save a GitForCausalLM and its processor, which crops the centre as CLIP's does."""
    tokenizer: Any = word_piece_tokenizer()
    config = GitConfig(
        vision_config={
            "hidden_size": 32,
            "intermediate_size": 64,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "image_size": IMAGE_SIDE,
            "patch_size": PATCH_SIDE,
        },
        vocab_size=len(tokenizer),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=40,
        bos_token_id=tokenizer.cls_token_id,
        eos_token_id=tokenizer.sep_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    fill_with_noise(GitForCausalLM(config), seed=2).save_pretrained(folder)
    GitProcessor(_clip_image_processor(), tokenizer).save_pretrained(folder)
    return str(folder)


def save_tiny_llava(folder: Path, *, chat_template: str | None = None) -> str:
    """Save a LlavaForConditionalGeneration (CLIP vision tower, Llama decoder) and its processor."""
    tokenizer: Any = _llama_tokenizer()
    image_token_id = tokenizer.convert_tokens_to_ids("<image>")
    config = LlavaConfig(
        vision_config=CLIPVisionConfig(
            hidden_size=32,
            intermediate_size=64,
            num_hidden_layers=3,
            num_attention_heads=2,
            image_size=IMAGE_SIDE,
            patch_size=PATCH_SIDE,
        ),
        text_config=LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=32,
            intermediate_size=64,
            num_hidden_layers=2,
            num_attention_heads=2,
            max_position_embeddings=160,
            pad_token_id=tokenizer.pad_token_id,
        ),
        image_token_index=image_token_id,
    )
    fill_with_noise(LlavaForConditionalGeneration(config), seed=3).save_pretrained(folder)
    LlavaProcessor(
        _clip_image_processor(),
        tokenizer,
        patch_size=PATCH_SIDE,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=chat_template,
    ).save_pretrained(folder)
    return str(folder)


def _clip_image_processor() -> CLIPImageProcessor:
    return CLIPImageProcessor(size={"shortest_edge": IMAGE_SIDE}, crop_size={"height": IMAGE_SIDE, "width": IMAGE_SIDE})


def _llama_tokenizer() -> LlamaTokenizer:
    """Make a SentencePiece-like BPE of single letters, with the word "red" as the one merged piece."""
    letters = ["▁", *ascii_lowercase, *ascii_uppercase, *".,:?!-'", "\n"]
    pieces = ["<unk>", "<s>", "</s>", *letters, "re", "red", "▁red"]
    merges = [("r", "e"), ("re", "d"), ("▁", "red")]
    vocabulary = {piece: index for index, piece in enumerate(pieces)}
    tokenizer = LlamaTokenizer(vocab=vocabulary, merges=merges, add_bos_token=True)
    tokenizer.add_special_tokens({"pad_token": "<pad>", "additional_special_tokens": ["<image>"]})
    return tokenizer
