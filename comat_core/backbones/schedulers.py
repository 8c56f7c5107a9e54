"""Noise schedules by name, made from whatever scheduler a checkpoint ships with."""

from collections.abc import Mapping
from inspect import signature
from typing import Any, Final

from diffusers import DDIMScheduler, DDPMScheduler, DPMSolverMultistepScheduler
from torch import Tensor

from comat_core.support.errors import UserError
from comat_core.support.loading_errors import first_line

SCHEDULERS: dict[str, Any] = {
    "ddpm": DDPMScheduler,
    "ddim": DDIMScheduler,
    "dpm-solver++": DPMSolverMultistepScheduler,
}

PREDICTION_TYPES: Final = ("epsilon", "v_prediction", "sample")
ELSEWHERE: Final[dict[str, Any]] = {"timestep_type": "discrete", "use_flow_sigmas": False, "snr_shift_scale": None}
"""Settings that put the noise levels elsewhere than the betas do -> the value with which they do not."""
OF_NOISE: Final[dict[str, Any]] = {"trained_betas": None, "rescale_betas_zero_snr": False}
"""Settings that change the betas, for the classes that know them -> the value with which they do not."""


def make_scheduler(own: Any, name: str) -> Any:
    """Make the named scheduler with the noise levels and prediction type of a checkpoint's own one.

    Args:
        own: the checkpoint's scheduler (`TextToImageModel.scheduler`).
        name: a key of `SCHEDULERS`.

    Raises:
        UserError: the name is unknown, or the checkpoint's noise levels are none that this scheduler can have.
    """
    if name not in SCHEDULERS:
        raise UserError(f"unknown scheduler {name!r}", "scheduler", f"choose one of: {', '.join(sorted(SCHEDULERS))}")
    obstacle = _obstacle(own.config, SCHEDULERS[name])
    if obstacle is not None:
        raise _cannot_take_over(own, name, obstacle)
    # These classes clip predicted pixels unless told otherwise; latents reach far beyond [-1, 1].
    clip_sample = own.config.get("clip_sample", False)
    try:
        return SCHEDULERS[name].from_config(own.config, clip_sample=clip_sample)
    except (NotImplementedError, TypeError, ValueError, RuntimeError) as error:
        raise _cannot_take_over(own, name, first_line(error)) from error


def _obstacle(config: Mapping[str, Any], kind: Any) -> str | None:
    """Why a scheduler of that class would have other noise levels than the config says, which it ignores in silence."""
    if config.get("trained_betas") is None and not {"beta_start", "beta_end", "beta_schedule"} <= set(config):
        return "it has no betas"
    prediction = config.get("prediction_type", "epsilon")
    if prediction not in PREDICTION_TYPES:
        return f"its network predicts {prediction!r}"
    for setting, usual in ELSEWHERE.items():
        if config.get(setting, usual) != usual:
            return f"{setting} is {config[setting]!r}"
    known = signature(kind.__init__).parameters
    unknown = [setting for setting, usual in OF_NOISE.items() if config.get(setting, usual) != usual]
    return next((f"it has no {setting}" for setting in unknown if setting not in known), None)


def _cannot_take_over(own: Any, name: str, obstacle: str) -> UserError:
    return UserError(
        f"{name} cannot take over the noise levels of the checkpoint's {type(own).__name__}: {obstacle}",
        "scheduler",
        "use a checkpoint trained with a schedule of betas, as Stable Diffusion was",
    )


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
