"""What gradients are compared on: a walk of the miniature model, and concept activation of its images."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path

import torch
from torch import Tensor, nn

from benchmarks.gradient_estimators.path_coefficients import reach
from benchmarks.gradient_estimators.plan import GradientPlan
from benchmarks.gradient_estimators.recorded_walk import RecordedWalk, record_walk
from benchmarks.gradient_estimators.walk_back import walk_back, walk_back_together
from comat_core.backbones.adapters import active_adapter, add_lora
from comat_core.backbones.loading import load_backbone
from comat_core.backbones.protocol import Backbone
from comat_core.captioners.blip import BlipCaptioner
from comat_core.losses.concept_activation import concept_activation_loss
from comat_core.sampling.schedulers import Scheduler
from comat_core.sampling.trajectories import start_from_noise
from comat_core.settings import Sampler
from comat_core.support.randomness import derive_seed
from stages.batches import BatchSize

ONLINE = "online"


@dataclass
class Problem:
    """A model with an adapter, a captioner, and how it samples."""

    online: Backbone
    captioner: BlipCaptioner
    sampling: Sampler
    resolution: int
    prompts: Sequence[str]
    parameters: list[nn.Parameter]

    @classmethod
    def load(
        cls, folder: Path, sampling: Sampler, prompts: Sequence[str], *, resolution: int, rank: int, seed: int
    ) -> "Problem":
        """Load the checkpoints "base" and "captioner" (BLIP) of a folder, and add an adapter that changes nothing."""
        online = load_backbone(folder / "base", device="cpu")
        parameters = add_lora(online, ONLINE, rank=rank, seed=seed)
        captioner = BlipCaptioner.load(str(folder / "captioner"), device="cpu")
        return cls(online, captioner, sampling, resolution, prompts, parameters)

    @property
    def scheduler(self) -> Scheduler:
        """The sampler's."""
        return self.online.make_scheduler(self.sampling.scheduler, self.resolution)

    @property
    def reach(self) -> Tensor:
        """(T,): see `benchmarks.gradient_estimators.path_coefficients`."""
        return reach(self.scheduler, self.sampling.num_inference_steps)

    def record(self, noise: int, *, unconditional_graph: bool = True) -> RecordedWalk:
        """Walk from the given noise, without a graph."""
        seeds = [derive_seed(noise, "trajectory", row) for row in range(len(self.prompts))]
        latents, generators = start_from_noise(self.online, seeds, self.resolution)
        with active_adapter(self.online.denoiser, ONLINE):
            return record_walk(
                self.online,
                latents,
                self.online.encode_prompts(self.prompts, self.resolution),
                self.online.encode_unconditional(len(self.prompts), self.resolution),
                scheduler=self.scheduler,
                num_inference_steps=self.sampling.num_inference_steps,
                guidance_scale=self.sampling.guidance_scale,
                generators=generators,
                steps=range(self.sampling.num_inference_steps),
                unconditional_graph=unconditional_graph,
            )

    def loss(self, latents: Tensor) -> Tensor:
        """L_i2t of clean latents (B, C, h, w), summed over a caption's tokens as the miniature preset asks."""
        likelihood = self.captioner.log_likelihood(self.online.decode(latents), self.prompts)
        return concept_activation_loss(likelihood.log_probabilities, likelihood.mask, "sum")

    def slope(self, latents: Tensor) -> Tensor:
        """dL/dz_0 (B, C, h, w)."""
        leaf = latents.detach().requires_grad_()
        return torch.autograd.grad(self.loss(leaf), leaf)[0]

    def flat(self, gradients: Sequence[Tensor]) -> Tensor:
        """One float64 vector."""
        return torch.cat([gradient.detach().double().flatten() for gradient in gradients])


@dataclass
class WalkOfProblem:
    """One recorded walk with the slope at its end. A step walked back with the same gradient is walked once."""

    problem: Problem
    walk: RecordedWalk
    slope: Tensor
    known: dict[tuple[int, str], tuple[list[Tensor], Tensor | None]] = field(default_factory=dict)

    @classmethod
    def of(cls, problem: Problem, noise: int, *, unconditional_graph: bool = True) -> "WalkOfProblem":
        """Walk from the given noise."""
        walk = problem.record(noise, unconditional_graph=unconditional_graph)
        return cls(problem, walk, problem.slope(walk.latents))

    def gradient(self, plan: GradientPlan) -> Tensor:
        """What a plan gives: (P,) float64."""
        parts = walk_back(plan, self.walk.coefficients(), self.slope, self._step)
        return self.problem.flat(parts)

    def gradient_together(self, plan: GradientPlan, at_once: BatchSize) -> Tensor:
        """The same of a plan that nests nothing, so many steps in one call of the denoiser: (P,) float64."""
        parameters = self.problem.parameters
        parts = walk_back_together(
            plan,
            self.walk.coefficients(),
            self.slope,
            lambda of_predictions: self.walk.gradient_of_steps(of_predictions, parameters),
            at_once,
        )
        return self.problem.flat(parts)

    def _step(self, step: int, of_prediction: Tensor) -> tuple[list[Tensor], Tensor | None]:
        key = (step, sha256(of_prediction.numpy().tobytes()).hexdigest())
        if key not in self.known:
            self.known[key] = self.walk.step_gradient(step, of_prediction, self.problem.parameters, through_input=True)
        return self.known[key]
