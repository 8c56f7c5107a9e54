"""What all settings have in common, and those of sampling. No model library is imported here: planning reads it too."""

from typing import Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field


class _SameResult:
    """Marks a field that cannot change the result."""


SAME_RESULT: Final = _SameResult()
"""Annotation for settings of speed and memory: `checkpoint_denoiser: Annotated[bool, SAME_RESULT] = True`."""


SchedulerName = Literal["ddpm", "ddim", "dpm-solver++", "flow-euler", "flow-euler-stochastic"]


class Settings(BaseModel):
    """Base of all groups of settings: unchangeable, every field named, every number finite."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Sampler(Settings):
    """How images are drawn."""

    scheduler: Annotated[SchedulerName, Field(description="sampler")] = "ddpm"
    num_inference_steps: Annotated[int, Field(ge=1, le=1000, description="T, denoising steps")] = 50
    guidance_scale: Annotated[float, Field(ge=0, le=100, description="classifier-free guidance; 1 is none")] = 7.5
