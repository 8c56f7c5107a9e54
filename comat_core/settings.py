"""What all settings have in common, and those of sampling. No model library is imported here: planning reads it too."""

from typing import Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator


class _SameResult:
    """Marks a field that cannot change the result."""


SAME_RESULT: Final = _SameResult()
"""Annotation for settings of speed and memory: `checkpoint_denoiser: Annotated[bool, SAME_RESULT] = True`."""


class _UnsaidIfEmpty:
    """Marks a field that a key says nothing of while it is None or holds nothing."""


UNSAID_IF_EMPTY: Final = _UnsaidIfEmpty()
"""Annotation for settings that came later than the keys of results, which their absence shall not change."""


Precision = Literal["fp32", "bf16", "fp16"]
"""Of a model's weights, or of what is computed with them."""


SchedulerName = Literal["ddpm", "ddim", "dpm-solver++", "flow-euler", "flow-euler-stochastic"]


Timestep = Annotated[float, Field(ge=0, description="of the training schedule, 0 the cleanest")]


class Settings(BaseModel):
    """Base of all groups of settings: unchangeable, every field named, every number finite."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Sampler(Settings):
    """How images are drawn."""

    scheduler: Annotated[SchedulerName, Field(description="sampler")] = "ddpm"
    num_inference_steps: Annotated[int, Field(ge=1, le=1000, description="T, denoising steps")] = 50
    guidance_scale: Annotated[float, Field(ge=0, le=100, description="classifier-free guidance; 1 is none")] = 7.5
    guidance_interval: Annotated[
        tuple[Timestep, Timestep] | None,
        UNSAID_IF_EMPTY,
        Field(description="[T1, T2], timesteps that are guided, the others by the prompt alone; none: all are guided"),
    ] = None

    @field_validator("guidance_interval")
    @classmethod
    def _interval_ascends(cls, interval: tuple[float, float] | None) -> tuple[float, float] | None:
        if interval is not None and interval[0] > interval[1]:
            raise ValueError("guidance_interval must be two timesteps in ascending order")
        return interval
