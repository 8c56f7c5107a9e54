"""Settings of chat models as the captioner: Qwen2.5-VL, Qwen3-VL, SmolVLM."""

from abc import ABC
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from stages.models.captioners.settings import CaptionerSettings
from stages.models.chat_models import ChatKind, chat_model_class
from stages.plan.config import ModelReference

if TYPE_CHECKING:
    import torch

    from comat_core.captioners.chat import ChatCaptioner


class ChatCaptionerSettings(CaptionerSettings, ABC):
    """A chat model: the caption is its answer to an instruction about the image."""

    kind: ChatKind
    instruction: Annotated[str, Field(min_length=1, description="what it is told about the image; not scored")] = (
        "Describe this image in one sentence."
    )

    def load(
        self, checkpoint: ModelReference, *, dtype: "torch.dtype", device: "torch.device | str"
    ) -> "ChatCaptioner":
        from comat_core.captioners.chat import ChatCaptioner

        chat = chat_model_class(self.kind).load(
            checkpoint.resolve(), revision=checkpoint.revision, dtype=dtype, device=device
        )
        return ChatCaptioner(chat, prefix=self.prefix, instruction=self.instruction)


class Qwen25Vl(ChatCaptionerSettings):
    """Qwen2.5-VL."""

    kind: Literal["qwen2_5_vl"] = "qwen2_5_vl"


class Qwen3Vl(ChatCaptionerSettings):
    """Qwen3-VL."""

    kind: Literal["qwen3_vl"] = "qwen3_vl"


class SmolVlm(ChatCaptionerSettings):
    """SmolVLM and SmolVLM2, shown the whole image in one square."""

    kind: Literal["smolvlm"] = "smolvlm"
