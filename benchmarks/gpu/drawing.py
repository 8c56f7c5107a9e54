"""Latents and images as the stages draw them, against the stock pipeline on the same networks."""

from collections.abc import Callable
from typing import Any

import torch

from benchmarks.alternating import Timing, alternate
from benchmarks.gpu.architectures import ARCHITECTURES, Place
from comat_core.support.precisions import PRECISIONS
from comat_core.support.randomness import make_generator
from stages.batches import AUTO
from stages.plan.presets import load_preset
from stages.sampling import SamplingConfig, decode_images, sample_latents

TINY = {"resolution": 64, "batch_size": 2}
PROMPT = "a red bird sits to the left of a striped blue cube on a small wooden table"


def measure_drawing(
    architecture: str, precision: str, device: torch.device, *, tiny: bool, repetitions: int
) -> dict[str, object]:
    """Both stages of the preset at their own sampler and batch size, alternately with the stock pipeline.

    Returns:
        Stage -> how it draws, its latents or images per second and the stock pipeline's, and the ratio of the times.
    """
    chosen = ARCHITECTURES[architecture]
    model = chosen.make(Place(device, PRECISIONS[precision], tiny))
    model.pipeline.set_progress_bar_config(disable=True)
    facts: dict[str, object] = {"preset": chosen.preset, "precision": precision}
    sections: Any = load_preset(chosen.preset).sections
    for name in ("latents", "images"):
        config = _sampling(sections[name], precision, tiny=tiny)
        size = config.batch_size
        assert size != AUTO, "these presets name a number"
        ours, stock = _calls(model, config, size, decoded=name == "images")
        timed = alternate(ours, stock, Timing(repetitions), device.type)
        facts[name] = {
            **config.sampling.model_dump(),
            "resolution": config.resolution,
            "batch_size": size,
            "per_second": size / float(timed["seconds"]),  # pyright: ignore[reportArgumentType]
            "per_second_stock": size / float(timed["seconds_against"]),  # pyright: ignore[reportArgumentType]
            "time_over_stock": timed,
        }
    return facts


def _sampling(config: SamplingConfig, precision: str, *, tiny: bool) -> SamplingConfig:
    changes: dict[str, object] = {"precision": precision}
    if tiny:
        changes |= {**TINY, "sampling": config.sampling.model_copy(update={"num_inference_steps": 2})}
    return config.model_copy(update=changes)


def _calls(
    model: Any, config: SamplingConfig, size: int, *, decoded: bool
) -> tuple[Callable[[], None], Callable[[], None]]:
    """The stage's way and the stock pipeline's, each of one batch.

    Args:
        size: of the batch.
        decoded: to images.
    """
    prompts, seeds = [PROMPT] * size, list(range(size))
    pipeline, sampling = model.pipeline, config.sampling
    pipeline.scheduler = model.make_scheduler(sampling.scheduler, config.resolution).own
    t5_length = getattr(model, "t5_length", None)  # the stock pipeline's own, but for the small tokenizers of --tiny
    options = {} if t5_length is None else {"max_sequence_length": t5_length}

    @torch.no_grad()
    def ours() -> None:
        latents = sample_latents(model, config, prompts, seeds)
        if decoded:
            decode_images(model, latents)

    def stock() -> None:
        pipeline(
            prompt=prompts,
            height=config.resolution,
            width=config.resolution,
            num_inference_steps=sampling.num_inference_steps,
            guidance_scale=sampling.guidance_scale,
            generator=[make_generator(seed, "trajectory") for seed in seeds],
            output_type="pt" if decoded else "latent",
            **options,
        )

    return ours, stock
