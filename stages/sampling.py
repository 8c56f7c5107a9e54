"""What the stages that sample from the base model share: their settings, the model, and the sampling of a batch."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Annotated, TypeVar

from pydantic import Field

from comat_core.backbones.quantisation import Quantisation
from comat_core.settings import Precision, Sampler
from stages.batches import BatchSize
from stages.models.devices import AUTO, choose_device
from stages.models.model_references import Checkpoint
from stages.plan.config import NOT_IN_KEY, NOT_IN_KEY_IF_EMPTY, ModelReference, StageConfig
from stages.plan.stage import Inputs

if TYPE_CHECKING:
    from torch import Tensor

    from comat_core.backbones.attention_maps import CaptureRequest
    from comat_core.backbones.protocol import Backbone
    from comat_core.sampling.denoising import DenoisingResult, StepCallback

Item = TypeVar("Item")

TUNED = "tuned"
"""Name of the adapter that sampling stages load a train artifact's LoRA under."""


class SamplingConfig(StageConfig):
    """Settings of every stage that samples from the base model."""

    seed: int = Field(ge=0, lt=2**63, description="of the run; the noise is derived from it and the prompt's id")
    resolution: int = Field(ge=8, le=4096, description="pixels per side of an image")
    base: Checkpoint = Field(description="the text-to-image checkpoint")
    sampling: Sampler = Sampler()
    precision: Precision = Field(default="fp32", description="of the model's weights")
    base_quantisation: Annotated[Quantisation | None, NOT_IN_KEY_IF_EMPTY] = Field(
        default=None, description="keep the base's largest networks in fewer bits"
    )
    batch_size: BatchSize = Field(default=8, description="prompts denoised together; auto takes as many as fit")
    device: Annotated[str, NOT_IN_KEY] = Field(default=AUTO, min_length=1, description="torch device; auto takes a GPU")

    def fetch_files(self) -> None:
        """Make sure that the base can be quantised here, if it is to be."""
        check_quantisation(self.base_quantisation, self.precision, self.device)


def check_quantisation(asked: Quantisation | None, precision: str, device: str) -> None:
    """Make sure, before anything runs, that this machine can quantise a base as asked.

    Args:
        precision: of the other weights, as settings name it.
        device: a setting of that name.

    Raises:
        UserError: a package is missing, or does not do it on this device or in this precision.
    """
    if asked is not None:
        from comat_core.support.precisions import PRECISIONS

        asked.check(str(PRECISIONS[precision]), choose_device(device).type)


@contextmanager
def sampling_model(config: SamplingConfig, inputs: Inputs, vae: ModelReference | None = None) -> "Iterator[Backbone]":
    """Give the base model, with the denoiser of an `adapt` input and the active LoRA of a `train` input if any.

    Args:
        vae: an autoencoder that replaces the checkpoint's own.
    """
    from comat_core.backbones.adapters import active_adapter, load_lora
    from comat_core.backbones.loading import load_backbone
    from comat_core.support.precisions import PRECISIONS

    with ExitStack() as stack:
        denoiser = stack.enter_context(inputs["adapt"].local_path("denoiser/")) if "adapt" in inputs else None
        model = load_backbone(
            config.base.resolve(),
            revision=config.base.revision,
            vae=vae.resolve() if vae else None,
            vae_revision=vae.revision if vae else None,
            denoiser=denoiser,
            dtype=PRECISIONS[config.precision],
            device=choose_device(config.device),
            quantisation=config.base_quantisation,
        )
        if "train" in inputs:
            load_lora(model, stack.enter_context(inputs["train"].local_path("lora/")), TUNED)
            stack.enter_context(active_adapter(model.denoiser, TUNED))
        yield model


def sample_latents(
    model: "Backbone", config: SamplingConfig, prompts: Sequence[str], trajectory_seeds: Sequence[int]
) -> "Tensor":
    """Sample final latents (B, C, h, w) in float32, each row along the trajectory of its own seed.

    Args:
        prompts: B texts.
        trajectory_seeds: B seeds (`comat_core.sampling.trajectories.start_from_noise`).

    Raises:
        UserError: some are no finite numbers.
    """
    return sample(model, config, prompts, trajectory_seeds).latents


def sample(
    model: "Backbone",
    config: SamplingConfig,
    prompts: Sequence[str],
    trajectory_seeds: Sequence[int],
    capture: "CaptureRequest | None" = None,
    callback: "StepCallback | None" = None,
) -> "DenoisingResult":
    """Sample as `sample_latents` does, and return the attention maps asked for beside the latents.

    Args:
        callback: called after every step.
    """
    from comat_core.sampling.denoising import denoise
    from comat_core.sampling.trajectories import start_from_noise
    from comat_core.support.finite_numbers import check_finite

    noise, generators = start_from_noise(model, trajectory_seeds, config.resolution)
    result = denoise(
        model,
        noise,
        model.encode_prompts(prompts, config.resolution),
        model.encode_unconditional(len(prompts), config.resolution),
        scheduler=model.make_scheduler(config.sampling.scheduler, config.resolution),
        num_inference_steps=config.sampling.num_inference_steps,
        guidance_scale=config.sampling.guidance_scale,
        guidance_interval=config.sampling.guidance_interval,
        generators=generators,
        capture=capture,
        callback=callback,
    )
    check_finite(result.latents, "the latents that the model draws", model.source)
    return result


def decode_images(model: "Backbone", latents: "Tensor") -> "Tensor":
    """Decode sampled latents to images (B, 3, H, W) in [0, 1], with tails.

    Raises:
        UserError: some of their pixels are no finite numbers.
    """
    from comat_core.support.finite_numbers import check_finite

    images = model.decode(latents)
    check_finite(images, "the images that the autoencoder makes", model.source)
    return images
