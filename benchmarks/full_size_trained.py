"""A training step of a published transformer with random weights; for `benchmarks.full_size`."""

import argparse
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.full_size_models import save_blip, tiny_sizes
from benchmarks.full_size_step import LeftAndRight, count, expected_lora_parameters, peak_facts, take_step
from benchmarks.full_size_transformers import PUBLISHED
from benchmarks.training_workload import ONLINE, SEED
from comat_core.backbones.adapters import add_lora
from comat_core.backbones.loading import wrap_pipeline
from comat_core.captioners.blip import BlipCaptioner
from comat_core.discriminators import DenoiserDiscriminator
from comat_core.training.step_settings import StepSettings, TrainingSampler
from comat_core.training.training_inputs import CoMatModels
from stages.plan.presets import load_preset

RESOLUTION = 64
"""Pixels: a transformer's size does not depend on it, and a CPU shall be done in minutes."""


def measure_transformer(name: str, arguments: argparse.Namespace) -> dict[str, object]:
    """One step in float32 with all losses; what stands beside the transformer but the autoencoder is small."""
    published = PUBLISHED[name]
    train: Any = load_preset(published.preset).sections["train"]
    config = published.config | (published.small if arguments.tiny else {})
    pipeline = published.make_pipeline(config, False, published.make_scheduler())
    online = wrap_pipeline(pipeline)
    parameters, rank = count(online.denoiser), train.online.rank
    expected = expected_lora_parameters(online.denoiser, rank, online.adapter_targets)
    add_lora(online, ONLINE, rank=rank, seed=SEED)
    sampler = TrainingSampler(
        scheduler=train.sampling.scheduler,
        guidance_scale=train.sampling.guidance_scale,
        num_inference_steps=arguments.num_inference_steps,
        gradient_steps=arguments.gradient_steps,
        attention_steps=1,
        tau_range=(1, 999),  # two steps may have none in the middle
    )
    settings = StepSettings(
        resolution=RESOLUTION, sampling=sampler, checkpoint_decoder=True, checkpoint_denoiser=train.checkpoint_denoiser
    )
    scheduler = online.make_scheduler(sampler.scheduler, RESOLUTION)
    discriminator = DenoiserDiscriminator(
        online,
        rank=train.discriminator.network.rank,
        resolution=RESOLUTION,
        timestep=scheduler.last_timestep(sampler.num_inference_steps),
        seed=SEED,
        checkpoint_denoiser=train.checkpoint_denoiser,
    )
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        captioner = BlipCaptioner.load(save_blip(Path(folder) / "blip", tiny_sizes()))
    models = CoMatModels(
        online=online,
        scheduler=scheduler,
        unconditional=online.encode_unconditional(1, RESOLUTION),
        captioner=captioner,
        discriminator=discriminator,
        segmenter=LeftAndRight(),
    )
    return {
        "transformer_parameters": parameters,
        "text_encoder_parameters": {key: count(net) for key, net in online.networks.items() if "text" in key},
        "captioner_parameters": count(captioner.model),
        "lora_rank": rank,
        "lora_parameters_expected": expected,
        **take_step(models, discriminator, settings),
        **peak_facts(arguments.limit),
    }
