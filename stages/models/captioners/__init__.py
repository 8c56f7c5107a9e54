"""The captioners that a preset may name. All are loaded alike, from the checkpoint that models.captioner names."""

from typing import Annotated

from pydantic import Field

from stages.models.captioners.blip import Blip
from stages.models.captioners.chat import Qwen3Vl, Qwen25Vl, SmolVlm
from stages.models.captioners.git import Git
from stages.models.captioners.llava import Llava
from stages.models.captioners.settings import CaptionerSettings

AnyCaptioner = Annotated[Blip | Git | Llava | Qwen25Vl | Qwen3Vl | SmolVlm, Field(discriminator="kind")]

__all__ = ["AnyCaptioner", "Blip", "CaptionerSettings", "Git", "Llava", "Qwen3Vl", "Qwen25Vl", "SmolVlm"]
