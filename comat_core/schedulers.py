"""Noise schedules by name, made from whatever scheduler a checkpoint ships with."""

from typing import Any

from diffusers import DDIMScheduler, DDPMScheduler, DPMSolverMultistepScheduler
from torch import Tensor

from comat_core.errors import UserError

SCHEDULERS: dict[str, Any] = {
    "ddpm": DDPMScheduler,
    "ddim": DDIMScheduler,
    "dpm-solver++": DPMSolverMultistepScheduler,
}


def make_scheduler(own: Any, name: str) -> Any:
    """Make the named scheduler with the noise levels and prediction type of a checkpoint's own one.

    Args:
        own: the checkpoint's scheduler (`TextToImageModel.scheduler`).
        name: a key of `SCHEDULERS`.

    Raises:
        UserError: the name is unknown.
    """
    if name not in SCHEDULERS:
        raise UserError(f"unknown scheduler {name!r}", "scheduler", f"choose one of: {', '.join(sorted(SCHEDULERS))}")
    # These classes clip predicted pixels unless told otherwise; latents reach far beyond [-1, 1].
    clip_sample = own.config.get("clip_sample", False)
    return SCHEDULERS[name].from_config(own.config, clip_sample=clip_sample)


def noisy_start(scheduler: Any, latents: Tensor, noise: Tensor, start_step: int, num_inference_steps: int) -> Tensor:
    """Noise clean latents to the level that step `start_step` of the denoising loop begins with.

    Args:
        scheduler: any diffusers scheduler; its timesteps are set by this call.
        latents, noise: (B, C, h, w).
        start_step: index of the step at which the rows join, in [0, num_inference_steps).
        num_inference_steps: T.
    """
    scheduler.set_timesteps(num_inference_steps)
    timesteps = scheduler.timesteps[start_step].expand(latents.shape[0])
    return scheduler.add_noise(latents, noise, timesteps)
