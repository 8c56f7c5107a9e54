"""The adapt stage: a short warm-up of the whole denoiser at the training resolution, on images of its own.

For checkpoints made for larger images than training uses (SDXL: 1024 px, trained at 512). The base model draws images
of training prompts at its native resolution; resized, they teach its denoiser the training resolution by the plain
diffusion loss. Everything after this stage uses the denoiser that it writes:

    denoiser/                     the denoiser, as diffusers saves one
    latents/00000.safetensors     what it was trained on: "latents" (N, C, h, w) of the resized images
    metrics.parquet               step, loss
"""

import math
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import pyarrow as pa
from pydantic import Field, model_validator

from comat_core.support.errors import UserError
from stages.batches import batches, in_parts
from stages.models.model_references import Vae
from stages.plan.stage import Inputs, Stage
from stages.progress import progress_bar
from stages.prompts.tables import read_training_texts
from stages.sampling import SamplingConfig, decode_images, sample_latents, sampling_model
from stages.store.artifact_writer import ArtifactWriter
from stages.store.latent_shards import read_back, write_shard
from stages.store.local_disk import disk_errors_told

if TYPE_CHECKING:
    from torch import Tensor

    from comat_core.backbones.protocol import Backbone
    from comat_core.backbones.text.conditioning import Conditioning

IMAGES_PER_PART = 32
"""A part is what a killed run has to draw again at most. Unlike the batch it decides which file holds what."""

Prompt = tuple[str, str]  # id, text


class AdaptConfig(SamplingConfig):
    """The warm-up. `resolution` is the one to adapt to."""

    vae: Vae = None
    native_resolution: int = Field(default=1024, ge=8, le=4096, description="pixels per side that the base model draws")
    images: int = Field(default=400, ge=1, le=1_000_000, description="images drawn, one for each of so many prompts")
    steps: int = Field(default=100, ge=1, le=100_000, description="optimiser steps")
    training_batch_size: int = Field(default=8, ge=1, le=4096, description="images of one optimiser step")
    learning_rate: Annotated[float, Field(gt=0, le=1, description="of AdamW, constant")] = 1e-5
    gradient_clip: Annotated[float, Field(gt=0, description="largest norm of the whole gradient")] = 1.0
    prompt_dropout: Annotated[float, Field(ge=0, lt=1, description="share of images trained without prompt")] = 0.1

    @model_validator(mode="after")
    def _base_can_learn(self) -> "AdaptConfig":
        if self.base_quantisation is not None:
            raise ValueError("the warm-up trains the base's own weights, which cannot be quantised")
        return self


def build(config: AdaptConfig, inputs: Inputs, writer: ArtifactWriter) -> None:
    """Draw the images, unless an earlier run did, then train on them."""
    prompts = _chosen_prompts(config, inputs)
    parts = in_parts(prompts, IMAGES_PER_PART)
    if not all(writer.has_part(_part(index)) for index in range(len(parts))):
        with sampling_model(config, {}, config.vae) as model:
            for index, part in enumerate(progress_bar(parts, "Adapt: images at the native resolution")):
                if not writer.has_part(_part(index)):
                    with writer.part(_part(index)):
                        latents = _resized_latents(config, model, part)
                        write_shard(writer, index, latents)
    losses = _train(config, prompts, read_back(writer, len(parts)), writer)
    writer.write_table("metrics.parquet", pa.table({"step": list(range(1, len(losses) + 1)), "loss": losses}))


def _chosen_prompts(config: AdaptConfig, inputs: Inputs) -> list[Prompt]:
    """The prompts to draw, chosen by the digest that their ids are, and so without regard to their order."""
    prompts = read_training_texts(inputs["prompts"], "adapt")
    return sorted((prompt.prompt_id, prompt.text) for prompt in prompts)[: config.images]


def _resized_latents(config: AdaptConfig, model: "Backbone", prompts: Sequence[Prompt]) -> "Tensor":
    """Draw images at the native resolution, and encode them at the other one: (N, C, h, w)."""
    import torch
    from torchvision.transforms.functional import resize

    from comat_core.support.randomness import derive_seed, make_generator

    native = config.model_copy(update={"resolution": config.native_resolution})
    latents = []
    for batch in batches(prompts, config.batch_size):
        seeds = [derive_seed(config.seed, "adaptation image", prompt_id) for prompt_id, _ in batch]
        with torch.no_grad():
            drawn = sample_latents(model, native, [text for _, text in batch], seeds)
            images = decode_images(model, drawn).clamp(0, 1)
            smaller = resize(images, [config.resolution, config.resolution], antialias=True)
        generators = [make_generator(config.seed, "adaptation posterior", prompt_id) for prompt_id, _ in batch]
        latents.append(model.encode_images(smaller.float(), generators).cpu())
    return torch.cat(latents)


def _train(config: AdaptConfig, prompts: list[Prompt], latents: "Tensor", writer: ArtifactWriter) -> list[float]:
    """Train all of the denoiser's weights, write it, and return the losses."""
    import torch

    from comat_core.losses.diffusion_loss import diffusion_loss
    from comat_core.support.finite_numbers import check_finite_weights
    from comat_core.support.precisions import PRECISIONS
    from comat_core.support.randomness import make_generator, normal_noise

    # The weights are trained in float32, whatever precision the images were drawn in.
    with sampling_model(config.model_copy(update={"precision": "fp32"}), {}, config.vae) as model:
        scheduler = model.make_scheduler(config.sampling.scheduler, config.resolution)
        unconditional = model.encode_unconditional(1, config.resolution)
        with _trainable(model):
            optimizer = torch.optim.AdamW(model.denoiser.parameters(), lr=config.learning_rate)
            losses = []
            for step in progress_bar(range(config.steps), "Adapt: training"):
                # The batch: which images, at which noise levels, and which of them without their prompt.
                generator = make_generator(config.seed, "adaptation step", step)
                rows = torch.randint(len(prompts), (config.training_batch_size,), generator=generator)
                timesteps = scheduler.draw_timesteps(len(rows), generator)
                dropped = torch.rand(len(rows), generator=generator) < config.prompt_dropout
                noise = normal_noise(latents.shape[1:], [generator] * len(rows), device=model.device)
                texts = [None if drop else prompts[row][1] for row, drop in zip(rows, dropped, strict=True)]
                conditioning = _encode(model, texts, unconditional, config.resolution)

                # The step.
                clean, timesteps = latents[rows].to(model.device), timesteps.to(model.device)
                reduced = PRECISIONS["bf16" if config.precision == "fp16" else config.precision]
                with torch.autocast(model.device.type, reduced, enabled=config.precision != "fp32"):
                    loss = diffusion_loss(model, clean, noise, timesteps, conditioning, scheduler)
                loss.backward()
                torch.nn.utils.clip_grad_norm_(model.denoiser.parameters(), config.gradient_clip)
                optimizer.step()
                optimizer.zero_grad(set_to_none=True)
                losses.append(loss.item())
                if not math.isfinite(losses[-1]):
                    problem = f"the loss of step {step + 1} is no finite number"
                    raise UserError(problem, "adapt", "lower adapt.learning_rate, or choose bf16 or fp32")
        check_finite_weights(model.denoiser.state_dict(), "the denoiser", "adapt", "lower adapt.learning_rate")
        with tempfile.TemporaryDirectory(prefix="comat-") as folder:
            with disk_errors_told("denoiser", Path(folder)):
                model.denoiser.save_pretrained(folder)
            writer.add_folder(Path(folder), "denoiser/")
    return losses


def _encode(
    model: "Backbone", texts: Sequence[str | None], unconditional: "Conditioning", resolution: int
) -> "Conditioning":
    """Encode a batch; a missing text becomes what guidance leads away from, which is not always the empty text."""
    prompts = model.encode_prompts([text or "" for text in texts], resolution)
    return prompts.replaced_by(unconditional, [text is None for text in texts])


@contextmanager
def _trainable(model: "Backbone") -> Iterator[None]:
    """Let the denoiser's own weights learn inside the block."""
    model.denoiser.requires_grad_(True).train()
    model.denoiser.enable_gradient_checkpointing()
    try:
        yield
    finally:
        model.denoiser.disable_gradient_checkpointing()
        model.denoiser.requires_grad_(False).eval()


def _part(index: int) -> str:
    return f"images-{index:05d}"


STAGE = Stage(
    name="adapt",
    version=3,
    config_type=AdaptConfig,
    inputs=("prompts",),
    build=build,
    resumable=True,
)
run = STAGE.run
