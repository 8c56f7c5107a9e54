"""How latents are noised, and denoised step by step, whatever a model was trained to predict."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor


class DenoisingRun(ABC):
    """One walk of a scheduler from noise to clean latents. Multistep solvers keep a history, so it serves one group."""

    @property
    @abstractmethod
    def timesteps(self) -> Tensor:
        """(T,): where the network is called, noisiest first, of the whole walk wherever it begins."""

    @property
    @abstractmethod
    def start_scale(self) -> float:
        """Factor between standard normal noise and what the first step begins with."""

    @abstractmethod
    def scale_input(self, latents: Tensor, timestep: Tensor) -> Tensor:
        """Scale latents (B, C, h, w) as the network wants them at this timestep."""

    @abstractmethod
    def step(
        self, prediction: Tensor, timestep: Tensor, latents: Tensor, generators: Sequence[torch.Generator]
    ) -> Tensor:
        """Go one step on.

        Args:
            prediction, latents: (B, C, h, w).
            timestep: a scalar, the next of `timesteps`.
            generators: B, for noise that the step adds.

        Returns:
            (B, C, h, w), linear in the prediction.
        """


class Scheduler(ABC):
    """Noise levels and prediction type of a model, with one way of denoising. Nothing in it changes.

    Attributes:
        own: the diffusers scheduler that it stands on, for stock pipelines that shall sample alike.
    """

    own: Any

    @property
    @abstractmethod
    def num_train_timesteps(self) -> int:
        """Timesteps of the training schedule lie in [0, this)."""

    @property
    @abstractmethod
    def prediction_type(self) -> str:
        """What the network predicts: "epsilon", "v_prediction", "sample" or "flow" (noise minus clean latents)."""

    @abstractmethod
    def run(self, num_inference_steps: int, start_step: int = 0) -> DenoisingRun:
        """Begin a walk of T steps, at the first or at a later one.

        Args:
            num_inference_steps: T.
            start_step: in [0, T).
        """

    @abstractmethod
    def add_noise(self, latents: Tensor, noise: Tensor, timesteps: Tensor) -> Tensor:
        """Noise clean latents to the level of a timestep of the training schedule.

        Args:
            latents, noise: (B, C, h, w).
            timesteps: (B,) of those that `draw_timesteps` draws or a run names.
        """

    @abstractmethod
    def prediction_target(self, latents: Tensor, noise: Tensor, timesteps: Tensor) -> Tensor:
        """What a perfect network would predict of the latents that `add_noise` makes of the same arguments."""

    @abstractmethod
    def draw_timesteps(self, count: int, generator: torch.Generator) -> Tensor:
        """Draw timesteps (count,) as the model's own training does."""

    def timesteps(self, num_inference_steps: int) -> Tensor:
        """(T,): where the network is called, noisiest first."""
        return self.run(num_inference_steps).timesteps

    def noisy_start(self, latents: Tensor, noise: Tensor, start_step: int, num_inference_steps: int) -> Tensor:
        """Noise clean latents to the level that step `start_step` of a run begins with.

        Args:
            latents, noise: (B, C, h, w).
            start_step: index of the step at which the rows join, in [0, num_inference_steps).
            num_inference_steps: T.
        """
        timestep = self.timesteps(num_inference_steps)[start_step]
        return self.add_noise(latents, noise, timestep.expand(latents.shape[0]))

    def last_timestep(self, num_inference_steps: int) -> float:
        """The timestep of a run's last call, the cleanest it makes: 1 for Stable Diffusion 1.5 with 50 DDPM steps."""
        return float(self.timesteps(num_inference_steps)[-1])
