"""The models and optimisers of a training run."""

from dataclasses import dataclass
from pathlib import Path

import torch
from diffusers.optimization import get_scheduler
from torch import nn
from torch.optim.lr_scheduler import LRScheduler

from comat_core.backbones.adapters import add_lora, lora_parameters
from comat_core.backbones.loading import load_backbone
from comat_core.backbones.recomputed_blocks import recompute_blocks
from comat_core.backbones.sharding import shard_base
from comat_core.rewards.protocol import WeightedReward
from comat_core.support.memory.offloading import HOME, OffloadedCaptioner, OffloadedSegmenter, offloaded_reward
from comat_core.support.precisions import PRECISIONS
from comat_core.training.training_inputs import CoMatModels
from stages.models.discriminators import Surroundings
from stages.models.rewards import RewardSurroundings
from stages.train.config import LearnerSettings, TrainConfig
from stages.train.learning.optimizers import make_optimizer

ADAPTER_NAME = "comat"


@dataclass
class Learner:
    """Parameters that learn, by names that do not change, and what moves them."""

    parameters: dict[str, nn.Parameter]
    optimizer: torch.optim.Optimizer
    schedule: LRScheduler
    """Of the learning rate; advances with every step that is not skipped."""
    gradient_clip: float
    """Largest norm of the whole gradient."""


@dataclass
class Trainee:
    """Everything that learns."""

    online: Learner
    discriminator: Learner | None


def load_models(
    config: TrainConfig, device: torch.device, denoiser: Path | None = None, *, sharded: bool = False
) -> CoMatModels:
    """Load all models that the loss weights call for, the base model with its new LoRA.

    Args:
        denoiser: folder of a denoiser that replaces the checkpoint's own (the adapt stage's).
        sharded: the base is spread over the processes, which have joined and all call this alike.
    """
    dtype = PRECISIONS[config.precision]
    online = load_backbone(
        config.base.resolve(),
        revision=config.base.revision,
        vae=config.vae.resolve() if config.vae else None,
        vae_revision=config.vae.revision if config.vae else None,
        denoiser=denoiser,
        dtype=dtype,
        device=HOME if sharded else device,
        quantisation=config.base_quantisation,
    )
    if sharded:
        shard_base(online, device, text_encoders=not config.hardware.offload)
    if config.hardware.channels_last:
        online.use_channels_last()
    if config.hardware.compile_backend is not None:
        online.denoiser.compile_repeated_blocks(backend=config.hardware.compile_backend)
    if config.hardware.recompute_blocks:
        recompute_blocks(online.denoiser)
    wanted = config.online
    add_lora(online, ADAPTER_NAME, rank=wanted.rank, seed=config.seed, target_modules=wanted.target_modules)
    models = CoMatModels(
        online=online,
        scheduler=online.make_scheduler(config.sampling.scheduler, config.resolution),
        unconditional=online.encode_unconditional(1, config.resolution),
    )
    weights = config.weights
    if config.needs_captioner:
        assert config.captioner is not None
        models.captioner = config.captioning.load(config.captioner, dtype=dtype, device=device)
    beside = RewardSurroundings(models.captioner, dtype, device)
    models.rewards = {
        name: WeightedReward(reward.load(beside), reward.weight) for name, reward in config.rewards.items()
    }
    if weights.fidelity:
        surroundings = Surroundings(
            online=online,
            last_timestep=models.scheduler.last_timestep(config.sampling.num_inference_steps),
            resolution=config.resolution,
            seed=config.seed,
            checkpoint_denoiser=config.checkpoint_denoiser,
            dtype=dtype,
            device=device,
        )
        models.discriminator = config.discriminator.network.load(surroundings)
    if weights.attribute_concentration:
        assert config.segmenter is not None
        models.segmenter = config.segmentation.load(config.segmenter, device=device)
    if config.hardware.offload:
        _offload(models)
    return models


def _offload(models: CoMatModels) -> None:
    """Let all frozen models but the online model's denoiser and autoencoder wait for their calls on the CPU."""
    models.online.offload_text_encoders()
    models.rewards = {
        name: WeightedReward(offloaded_reward(one.reward), one.weight) for name, one in models.rewards.items()
    }
    if models.captioner is not None:
        models.captioner = OffloadedCaptioner(models.captioner)
    if models.segmenter is not None:
        models.segmenter = OffloadedSegmenter(models.segmenter)


def make_trainee(config: TrainConfig, models: CoMatModels) -> Trainee:
    """Collect the trainable parameters, and make their optimisers and schedules."""
    wanted = {id(parameter) for parameter in lora_parameters(models.online.denoiser, ADAPTER_NAME)}
    online = {name: value for name, value in models.online.denoiser.named_parameters() if id(value) in wanted}
    discriminator = models.discriminator.named_trainable_parameters() if models.discriminator else {}
    return Trainee(
        online=_learner(online, config.online, config),
        discriminator=_learner(discriminator, config.discriminator, config) if discriminator else None,
    )


def _learner(parameters: dict[str, nn.Parameter], settings: LearnerSettings, config: TrainConfig) -> Learner:
    optimizer = make_optimizer(
        config.optimizer,
        parameters.values(),
        learning_rate=settings.learning_rate,
        betas=settings.betas,
        weight_decay=settings.weight_decay,
    )
    name = "constant_with_warmup" if settings.schedule == "constant" else settings.schedule
    schedule = get_scheduler(name, optimizer, num_warmup_steps=settings.warmup_steps, num_training_steps=config.steps)
    return Learner(parameters, optimizer, schedule, settings.gradient_clip)
