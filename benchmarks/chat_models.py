"""What published chat models take of memory as captioners, planned without data: `python -m benchmarks.chat_models`.

The configs are those of the checkpoints' `config.json`. Tokenizer and template are small stand-ins, which read the text
byte by byte: with the chat around it the text has a few dozen tokens more than a caption of twenty words in theirs.
"""

import argparse
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch
from transformers import (
    LlamaConfig,
    PreTrainedConfig,
    Qwen2_5_VLConfig,
    Qwen2VLImageProcessor,
    Qwen3VLConfig,
    SmolVLMConfig,
    SmolVLMImageProcessor,
)

from comat_core.captioners.chat import ChatCaptioner
from comat_core.chat_models.chat_model import ChatModel
from comat_core.support.memory.activation_memory import kept_activations, without_data
from stages.models.chat_models import ChatKind, chat_model_class
from tests.tiny_chat_models import SAVERS

GIBIBYTE: Final = 2**30
CAPTION: Final = "twenty tokens a text"
INSTRUCTION: Final = "Describe"


@dataclass(frozen=True)
class Published:
    """A checkpoint's architecture."""

    kind: ChatKind
    config: PreTrainedConfig
    image_processor: Any


@dataclass(frozen=True)
class Planned:
    """What one image and its caption take."""

    parameters: int
    kept: int
    """Bytes kept for the backward pass, under autocast to bf16."""
    image_tokens: int
    text_tokens: int

    def __str__(self) -> str:
        weights, kept = (size / GIBIBYTE for size in (2 * self.parameters, self.kept))
        tokens = f"{self.image_tokens} image and {self.text_tokens} text tokens"
        return f"{self.parameters / 1e9:.2f} G parameters, {weights:.1f} GiB; keeps {kept:.2f} GiB; {tokens}"


def published() -> dict[str, Published]:
    """Name -> architecture."""
    qwen25_eyes = {"depth": 32, "hidden_size": 1280, "intermediate_size": 3420, "num_heads": 16, "patch_size": 14}
    qwen3_eyes = {"depth": 24, "hidden_size": 1024, "intermediate_size": 4096, "num_heads": 16, "patch_size": 16}
    mrope = {"rope_type": "default", "mrope_section": [16, 24, 24], "rope_theta": 1e6}
    qwen25_pixels: Any = Qwen2VLImageProcessor(size={"shortest_edge": 3136, "longest_edge": 12845056})
    qwen3_pixels: Any = Qwen2VLImageProcessor(size={"shortest_edge": 65536, "longest_edge": 16777216}, patch_size=16)
    qwen25_7b = Qwen2_5_VLConfig(
        text_config={
            **_text(3584, 18944, 28, 28, 4, 152064, 128000),
            "rope_parameters": mrope,
        },
        vision_config={**qwen25_eyes, "out_hidden_size": 3584, "window_size": 112},
    )
    qwen25_3b = Qwen2_5_VLConfig(
        text_config={**_text(2048, 11008, 36, 16, 2, 151936, 128000), "rope_parameters": mrope},
        vision_config={**qwen25_eyes, "out_hidden_size": 2048, "window_size": 112},
        tie_word_embeddings=True,
    )
    qwen3_4b = Qwen3VLConfig(
        text_config={
            **_text(2560, 9728, 36, 32, 8, 151936, 262144),
            "head_dim": 128,
            "rope_parameters": {**mrope, "mrope_section": [24, 20, 20], "mrope_interleaved": True},
        },
        vision_config={**qwen3_eyes, "out_hidden_size": 2560, "deepstack_visual_indexes": [5, 11, 17]},
        tie_word_embeddings=True,
    )
    smol = SmolVLMConfig(
        vision_config={
            "hidden_size": 1152,
            "intermediate_size": 4304,
            "num_hidden_layers": 27,
            "num_attention_heads": 16,
            "image_size": 384,
            "patch_size": 14,
        },
        text_config=LlamaConfig(**_text(2048, 8192, 24, 32, 32, 49155, 16384)),
        scale_factor=3,
    )
    square = SmolVLMImageProcessor(size={"longest_edge": 1536}, max_image_size={"longest_edge": 384})
    return {
        "Qwen2.5-VL-7B": Published("qwen2_5_vl", qwen25_7b, qwen25_pixels),
        "Qwen2.5-VL-3B": Published("qwen2_5_vl", qwen25_3b, qwen25_pixels),
        "Qwen3-VL-4B": Published("qwen3_vl", qwen3_4b, qwen3_pixels),
        "SmolVLM": Published("smolvlm", smol, square),
    }


def plan(of: Published, stand_in: str, side: int) -> Planned:
    """Plan one square image of that side and its caption.

    Args:
        stand_in: folder of a checkpoint of the kind, whose tokenizer and template are used.
    """
    chat_class = chat_model_class(of.kind)
    processor = chat_class.load_processor(stand_in, None)
    processor.image_processor = of.image_processor
    of.config.image_token_id = _image_token(chat_class, stand_in)
    mode = without_data()
    with mode:
        model: Any = chat_class.model_class._from_config(of.config, dtype=torch.bfloat16)
    chat = chat_class(model.requires_grad_(False).eval(), processor)
    captioner = ChatCaptioner(chat, prefix="", instruction=INSTRUCTION)
    score = captioner.prepare([CAPTION], torch.device("cpu"))
    shown = (1, 3, side, side)

    def call() -> object:
        with torch.autocast("cpu", torch.bfloat16):
            return score(torch.zeros(shown, requires_grad=True))

    kept = kept_activations(call, [model])
    with mode:
        image_tokens = chat.see(torch.zeros(shown)).features.shape[1]
    parameters = sum(weight.numel() for weight in {id(weight): weight for weight in model.parameters()}.values())
    return Planned(parameters, kept, image_tokens, captioner.tokenize([CAPTION]).input_ids.shape[1] - 1)


def main() -> None:
    """Print one line per checkpoint."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--side", type=int, default=512, help="pixels along a side of the image")
    side = parser.parse_args().side
    with tempfile.TemporaryDirectory() as folder:
        for name, of in published().items():
            print(f"{name}: {plan(of, SAVERS[of.kind](Path(folder) / name), side)}", flush=True)


def _text(width: int, inner: int, layers: int, heads: int, shared: int, words: int, longest: int) -> dict[str, Any]:
    return {
        "hidden_size": width,
        "intermediate_size": inner,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "num_key_value_heads": shared,
        "vocab_size": words,
        "max_position_embeddings": longest,
    }


def _image_token(chat_class: type[ChatModel], folder: str) -> int:
    """The stand-in's image token, which its tokenizer knows."""
    return chat_class.load(folder).model.config.image_token_id


if __name__ == "__main__":
    main()
