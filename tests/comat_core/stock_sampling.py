"""Sampling as the tests of several modules do it: with the stock pipeline and with ours, from the same seeds."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from diffusers import DiffusionPipeline
from torch import Tensor

from comat_core.backbones.protocol import Backbone
from comat_core.sampling.denoising import DenoisingResult, denoise
from comat_core.sampling.schedulers import Scheduler
from comat_core.support.randomness import make_generator, normal_noise
from tests.tiny_models import IMAGE_SIDE, LATENT_CHANNELS, LATENT_SIDE

PROMPTS = ("a red circle and a striped blue square", "a green star")
STEPS = 5
GUIDANCE = 5.0


def stock_pipeline(folder: Path) -> Any:
    """Load a checkpoint as anybody else would."""
    pipeline = DiffusionPipeline.from_pretrained(folder)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def row_generators(count: int) -> list[torch.Generator]:
    """Make the generators of `count` rows."""
    return [make_generator(7, "row", row) for row in range(count)]


def stock_images(pipeline: Any, scheduler: Scheduler, prompts: Sequence[str] = PROMPTS) -> Tensor:
    """Return the stock pipeline's images (B, 3, H, W), clamped to [0, 1]."""
    pipeline.scheduler = scheduler.own
    return pipeline(
        prompt=list(prompts),
        height=IMAGE_SIDE,
        width=IMAGE_SIDE,
        num_inference_steps=STEPS,
        guidance_scale=GUIDANCE,
        generator=row_generators(len(prompts)),
        output_type="pt",
    ).images


def sample(
    model: Backbone,
    scheduler: Scheduler,
    prompts: Sequence[str] = PROMPTS,
    *,
    rows: Sequence[int] | None = None,
    **options: Any,
) -> DenoisingResult:
    """Run our denoising loop on the given rows (all by default) of the batch that `stock_images` makes."""
    chosen = list(range(len(prompts))) if rows is None else list(rows)
    generators = [row_generators(len(prompts))[row] for row in chosen]
    dtype = torch.promote_types(model.dtype, torch.float32)
    noise = normal_noise((LATENT_CHANNELS, LATENT_SIDE, LATENT_SIDE), generators, dtype=dtype)
    settings = {
        "scheduler": scheduler,
        "num_inference_steps": STEPS,
        "guidance_scale": GUIDANCE,
        "generators": generators,
    }
    return denoise(
        model,
        noise,
        model.encode_prompts([prompts[row] for row in chosen], IMAGE_SIDE),
        model.encode_unconditional(len(chosen), IMAGE_SIDE),
        **(settings | options),
    )
