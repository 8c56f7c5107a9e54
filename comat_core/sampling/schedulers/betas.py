"""Schedules of betas, as Stable Diffusion has them: DDPM, DDIM and DPM-Solver++, on diffusers' classes."""

from collections.abc import Mapping, Sequence
from copy import deepcopy
from inspect import signature
from typing import Any, Final

import torch
from diffusers import DDIMScheduler, DDPMScheduler, DPMSolverMultistepScheduler
from torch import Tensor

from comat_core.sampling.schedulers.protocol import DenoisingRun, Scheduler
from comat_core.support.errors import UserError, first_line

BETA_SCHEDULERS: Final[dict[str, Any]] = {
    "ddpm": DDPMScheduler,
    "ddim": DDIMScheduler,
    "dpm-solver++": DPMSolverMultistepScheduler,
}

PREDICTION_TYPES: Final = ("epsilon", "v_prediction", "sample")
ELSEWHERE: Final[dict[str, Any]] = {"timestep_type": "discrete", "use_flow_sigmas": False, "snr_shift_scale": None}
"""Settings that put the noise levels elsewhere than the betas do -> the value with which they do not."""
OF_NOISE: Final[dict[str, Any]] = {"trained_betas": None, "rescale_betas_zero_snr": False}
"""Settings that change the betas, for the classes that know them -> the value with which they do not."""


class BetaScheduler(Scheduler):
    """A diffusers scheduler that makes one call of the network per step."""

    def __init__(self, own: Any) -> None:
        """Wrap a scheduler; it is copied for every run, not changed."""
        self.own = own

    @classmethod
    def taking_over(cls, own: Any, name: str) -> "BetaScheduler":
        """Make the named scheduler with the noise levels and prediction type of a checkpoint's own one.

        Args:
            name: a key of `BETA_SCHEDULERS`.

        Raises:
            UserError: the checkpoint's noise levels are none that this scheduler can have.
        """
        obstacle = _obstacle(own.config, BETA_SCHEDULERS[name])
        if obstacle is not None:
            raise _cannot_take_over(own, name, obstacle)
        # These classes clip predicted pixels unless told otherwise; latents reach far beyond [-1, 1].
        clip_sample = own.config.get("clip_sample", False)
        try:
            return cls(BETA_SCHEDULERS[name].from_config(own.config, clip_sample=clip_sample))
        except (NotImplementedError, TypeError, ValueError, RuntimeError) as error:
            raise _cannot_take_over(own, name, first_line(error)) from error

    @property
    def num_train_timesteps(self) -> int:
        return self.own.config.num_train_timesteps

    @property
    def prediction_type(self) -> str:
        return self.own.config.prediction_type

    def run(self, num_inference_steps: int, start_step: int = 0) -> "_BetaRun":
        return _BetaRun(deepcopy(self.own), num_inference_steps, start_step)

    def add_noise(self, latents: Tensor, noise: Tensor, timesteps: Tensor) -> Tensor:
        return self.own.add_noise(latents, noise, timesteps)

    def prediction_target(self, latents: Tensor, noise: Tensor, timesteps: Tensor) -> Tensor:
        """The noise, the velocity (Salimans and Ho 2022) or the clean latents."""
        if self.prediction_type == "v_prediction":
            return self.own.get_velocity(latents, noise, timesteps)
        return {"epsilon": noise, "sample": latents}[self.prediction_type]

    def draw_timesteps(self, count: int, generator: torch.Generator) -> Tensor:
        """All alike."""
        return torch.randint(self.num_train_timesteps, (count,), generator=generator)


class _BetaRun(DenoisingRun):
    def __init__(self, own: Any, num_inference_steps: int, start_step: int) -> None:
        own.set_timesteps(num_inference_steps)
        assert len(own.timesteps) == num_inference_steps, "the scheduler calls the network twice per step"
        if hasattr(own, "set_begin_index"):
            own.set_begin_index(start_step)
        self._own = own
        self._takes_generators = "generator" in signature(own.step).parameters

    @property
    def timesteps(self) -> Tensor:
        return self._own.timesteps

    @property
    def start_scale(self) -> float:
        return float(self._own.init_noise_sigma)

    def scale_input(self, latents: Tensor, timestep: Tensor) -> Tensor:
        return self._own.scale_model_input(latents, timestep)

    def step(
        self, prediction: Tensor, timestep: Tensor, latents: Tensor, generators: Sequence[torch.Generator]
    ) -> Tensor:
        extra = {"generator": list(generators)} if self._takes_generators else {}
        return self._own.step(prediction, timestep, latents, return_dict=False, **extra)[0]


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
