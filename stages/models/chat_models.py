"""The chat models that may caption, or answer yes or no: one name for each architecture."""

from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from comat_core.chat_models.chat_model import ChatModel

ChatKind = Literal["qwen2_5_vl", "qwen3_vl", "smolvlm"]


def chat_model_class(kind: ChatKind) -> "type[ChatModel]":
    """The class that loads checkpoints of that architecture."""
    from comat_core.chat_models.qwen_vl import Qwen3VisionLanguage, Qwen25VisionLanguage
    from comat_core.chat_models.smolvlm import SmolVisionLanguage

    classes: dict[ChatKind, type[ChatModel]] = {
        "qwen2_5_vl": Qwen25VisionLanguage,
        "qwen3_vl": Qwen3VisionLanguage,
        "smolvlm": SmolVisionLanguage,
    }
    return classes[kind]
