"""Flow matching, as SD3, FLUX and SANA were trained: straight lines from noise to clean latents, walked by Euler steps.

x_sigma = (1 - sigma) x_0 + sigma noise, and the network predicts the velocity noise - x_0 (Lipman et al. 2023, Esser et
al. 2024). The noise levels of a walk come from diffusers' FlowMatchEulerDiscreteScheduler, with the shift that the
checkpoint names: a fixed one, or one that grows with the number of image tokens. What some pipelines tell their
scheduler beside is said by a `FlowWalk`.
"""

from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import torch
from diffusers import FlowMatchEulerDiscreteScheduler
from torch import Tensor

from comat_core.backbones.checkpoints.scheduler_classes import walks_flow
from comat_core.sampling.schedulers.protocol import DenoisingRun, Scheduler
from comat_core.support.errors import UserError, first_line
from comat_core.support.randomness import normal_noise

FLOW_SCHEDULERS: Final = {"flow-euler": False, "flow-euler-stochastic": True}
"""Name -> whether every step throws its noise away and draws new one."""

USUAL_STEPS: Final = 50
"""The length of walk whose shift training timesteps have, where the shift depends on it."""


@dataclass(frozen=True)
class FlowWalk:
    """What a kind of stock pipeline tells its scheduler about a walk, where the scheduler is not left to itself."""

    down_to_one_step: bool = False
    """Before they are shifted, T noise levels run evenly from 1 down to 1 / T, not to the smallest of training."""
    dynamic_shift: Callable[[int, int], float] | None = None
    """From the number of image tokens and T to mu, in the place of the straight line that the checkpoint names."""


class FlowScheduler(Scheduler):
    """Euler steps along the velocity, or between clean estimates that are noised anew."""

    def __init__(self, own: Any, *, image_tokens: int, stochastic: bool = False, walk: FlowWalk | None = None) -> None:
        """Wrap a scheduler of diffusers.

        Args:
            own: a FlowMatchEulerDiscreteScheduler; it is copied, not changed.
            image_tokens: how many the network sees, on which a dynamic shift depends.
            stochastic: draw new noise at every step.
            walk: what the stock pipeline asks for; None for what the scheduler does by itself.
        """
        self.own = own
        self.walk = walk or FlowWalk()
        self.image_tokens = image_tokens
        self.stochastic = stochastic

    @classmethod
    def taking_over(cls, own: Any, name: str, image_tokens: int, walk: FlowWalk | None = None) -> "FlowScheduler":
        """Make the named scheduler with the noise levels of a checkpoint's own one.

        Args:
            name: a key of `FLOW_SCHEDULERS`.

        Raises:
            UserError: the checkpoint was not trained by flow matching, or with noise levels that are not known here.
        """
        stochastic = FLOW_SCHEDULERS[name]
        config = own.config
        flow_sigmas = walks_flow(config)
        if not isinstance(own, FlowMatchEulerDiscreteScheduler) and not flow_sigmas:
            problem = f"{name} is for models of flow matching, not for the checkpoint's {type(own).__name__}"
            raise UserError(problem, "scheduler", "choose ddpm, ddim or dpm-solver++")
        # Solvers of other families keep the static shift under a name of their own.
        shift = {"shift": config["flow_shift"]} if flow_sigmas and config.get("flow_shift") else {}
        try:
            taken: Any = FlowMatchEulerDiscreteScheduler.from_config(config, stochastic_sampling=stochastic, **shift)
        except (ImportError, TypeError, ValueError) as error:
            problem = f"{name} cannot take over the noise levels of the checkpoint: {first_line(error)}"
            raise UserError(problem, "scheduler", "use a complete checkpoint") from error
        if taken.config.invert_sigmas:
            raise UserError(
                f"{name} does not know inverted noise levels", "scheduler", "use a text-to-image checkpoint"
            )
        return cls(taken, image_tokens=image_tokens, stochastic=stochastic, walk=walk)

    @property
    def num_train_timesteps(self) -> int:
        return self.own.config.num_train_timesteps

    @property
    def prediction_type(self) -> str:
        return "flow"

    def run(self, num_inference_steps: int, start_step: int = 0) -> "_FlowRun":
        own = deepcopy(self.own)
        own.set_timesteps(
            num_inference_steps, sigmas=self._levels(num_inference_steps), mu=self._mu(num_inference_steps)
        )
        return _FlowRun(own.sigmas, own.timesteps, start_step, stochastic=self.stochastic)

    def add_noise(self, latents: Tensor, noise: Tensor, timesteps: Tensor) -> Tensor:
        sigmas = self._sigmas(timesteps, latents)
        return (1 - sigmas) * latents + sigmas * noise

    def prediction_target(self, latents: Tensor, noise: Tensor, timesteps: Tensor) -> Tensor:
        """The velocity, the same at all timesteps."""
        del timesteps
        return noise - latents

    def draw_timesteps(self, count: int, generator: torch.Generator) -> Tensor:
        """By a logit-normal density, which spends most on the middle (Esser et al. 2024), shifted as the walk is."""
        sigmas = torch.randn(count, generator=generator).sigmoid()
        mu = self._mu(USUAL_STEPS)
        if mu is not None:
            shifted = self.own.time_shift(mu, 1.0, sigmas)
        else:
            shift = self.own.config.shift
            shifted = shift * sigmas / (1 + (shift - 1) * sigmas)
        return shifted * self.num_train_timesteps

    def _levels(self, num_inference_steps: int) -> Any:
        """Noise levels (T,) before they are shifted, or None for the scheduler's own."""
        if not self.walk.down_to_one_step:
            return None
        return np.linspace(1.0, 1 / num_inference_steps, num_inference_steps)

    def _mu(self, num_inference_steps: int) -> float | None:
        """The shift of a walk of T steps, by default linear in the number of image tokens; None where it is fixed."""
        config = self.own.config
        if not config.use_dynamic_shifting:
            return None
        if self.walk.dynamic_shift is not None:
            return self.walk.dynamic_shift(self.image_tokens, num_inference_steps)
        slope = (config.max_shift - config.base_shift) / (config.max_image_seq_len - config.base_image_seq_len)
        return config.base_shift + slope * (self.image_tokens - config.base_image_seq_len)

    def _sigmas(self, timesteps: Tensor, like: Tensor) -> Tensor:
        return (timesteps.to(like.device, like.dtype) / self.num_train_timesteps).view(-1, *[1] * (like.dim() - 1))


class _FlowRun(DenoisingRun):
    def __init__(self, sigmas: Tensor, timesteps: Tensor, start_step: int, *, stochastic: bool) -> None:
        self._sigmas = sigmas
        self._timesteps = timesteps
        self._next = start_step
        self._stochastic = stochastic

    @property
    def timesteps(self) -> Tensor:
        return self._timesteps

    @property
    def start_scale(self) -> float:
        return 1.0

    def scale_input(self, latents: Tensor, timestep: Tensor) -> Tensor:
        del timestep
        return latents

    def step(
        self, prediction: Tensor, timestep: Tensor, latents: Tensor, generators: Sequence[torch.Generator]
    ) -> Tensor:
        sigma, following = self._sigmas[self._next], self._sigmas[self._next + 1]
        assert timestep == self._timesteps[self._next], "the steps of a run come in their order"
        self._next += 1
        if not self._stochastic:
            return latents + (following - sigma).to(latents) * prediction
        noise = normal_noise(latents.shape[1:], generators, dtype=latents.dtype, device=latents.device)
        clean = latents - sigma.to(latents) * prediction
        return (1 - following).to(latents) * clean + following.to(latents) * noise
