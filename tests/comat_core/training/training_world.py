"""A complete set of models for the training step: a tiny diffusion checkpoint, and stand-ins for the others."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from comat_core.backbones.adapters import active_adapter, add_lora
from comat_core.backbones.protocol import Backbone
from comat_core.captioners.protocol import CaptionLikelihood
from comat_core.discriminators import DenoiserDiscriminator
from comat_core.losses.attribute_concentration import EntityTokens
from comat_core.sampling.denoising import denoise
from comat_core.sampling.trajectories import start_from_noise
from comat_core.support.randomness import derive_seed, make_generator
from comat_core.training.step_settings import AdversarySettings, LossWeights, StepSettings, TrainingSampler
from comat_core.training.training_inputs import CoMatBatch, CoMatModels
from tests.tiny_models import IMAGE_SIDE

SEED = 7
PROMPTS = ("a red circle", "a striped blue square", "a green star", "two motorcycles")
CAPTIONS = ("a wooden table", "a white heart", "a black circle", "a purple cross")
ENTITIES = (
    (EntityTokens("circle", (3,), (2,)),),
    (EntityTokens("square", (4,), (2, 3)), EntityTokens("stripe", (2,))),
    (),
    (EntityTokens("motorcycles", (2, 3)),),
)
EVERYTHING = LossWeights(concept_activation=1.0, fidelity=0.5, attribute_region=0.2, attribute_pixel=0.1)
CONCEPT_ONLY = LossWeights(fidelity=0.0, attribute_region=0.0, attribute_pixel=0.0)


class BrightnessCaptioner:
    """Finds a caption the likelier the closer the image's mean colour is to one derived from the caption's words."""

    def __init__(self) -> None:
        self.networks: dict[str, nn.Module] = {}
        self.calls: list[tuple[tuple[int, ...], list[str]]] = []

    def prepare(self, captions: Sequence[str], device: torch.device) -> Callable[[Tensor], CaptionLikelihood]:
        return lambda images: self.log_likelihood(images.to(device), captions)

    def log_likelihood(self, images: Tensor, captions: Sequence[str]) -> CaptionLikelihood:
        self.calls.append((tuple(images.shape), list(captions)))
        words = [caption.split() for caption in captions]
        length = max(len(row) for row in words)
        mask = torch.tensor([[index < len(row) for index in range(length)] for row in words])
        wanted = torch.zeros(len(captions), length, 3)
        for row, caption in enumerate(words):
            for index, word in enumerate(caption):
                wanted[row, index] = torch.rand(3, generator=make_generator(0, "colour", word))
        colour = images.float().mean(dim=(2, 3))[:, None]
        return CaptionLikelihood(-((colour - wanted) ** 2).sum(dim=-1) - 0.1, mask)


class HalfSegmenter:
    """Finds the first noun of an image in its left half, and no other."""

    def __init__(self) -> None:
        self.networks: dict[str, nn.Module] = {}
        self.images: list[Tensor] = []
        self.nouns: list[list[list[str]]] = []

    def segment(self, images: Tensor, nouns: Sequence[Sequence[str]]) -> list[Tensor]:
        self.images.append(images)
        self.nouns.append([list(row) for row in nouns])
        masks = [torch.zeros(len(row), *images.shape[-2:], dtype=torch.bool) for row in nouns]
        for mask in masks:
            mask[:1, :, : images.shape[-1] // 2] = True
        return masks

    def segment_instances(self, images: Tensor, nouns: Sequence[Sequence[str]]) -> list[list[Tensor]]:  # noqa: ARG002
        raise AssertionError("no two entities of these prompts share a noun")


def make_settings(
    weights: LossWeights = EVERYTHING, *, num_inference_steps: int = 4, real: str = "generated", **changes: object
) -> StepSettings:
    """Four steps, two of them with gradient, one of these with attention."""
    sampling = TrainingSampler(
        num_inference_steps=num_inference_steps,
        guidance_scale=3.0,
        gradient_steps=2,
        attention_steps=1,
        tau_range=(200, 800),
    )
    fixed = {"resolution": IMAGE_SIDE, "sampling": sampling, "weights": weights, "checkpoint_denoiser": False}
    discriminator = AdversarySettings.model_validate({"real": real})
    return StepSettings.model_validate(fixed | {"discriminator": discriminator} | changes)


def make_models(
    online: Backbone,
    *,
    judge: Backbone | None = None,
    stirred: bool = True,
    discriminator_checkpoint: bool = False,
    scheduler: str = "ddpm",
) -> CoMatModels:
    """Add adapters to models of a test's own.

    Args:
        judge: whose UNet the discriminator has; the online model's by default.
        stirred: the adapters are as if trained: no weight is zero.
        discriminator_checkpoint: the discriminator recomputes its UNet.
        scheduler: name of the one that the online model is sampled with.
    """
    lora = add_lora(online, "online", rank=2, seed=SEED)
    discriminator = DenoiserDiscriminator(
        judge or online,
        rank=2,
        resolution=IMAGE_SIDE,
        timestep=1,
        seed=SEED,
        checkpoint_denoiser=discriminator_checkpoint,
    )
    if stirred:
        stir([*lora, *discriminator.named_trainable_parameters().values()])
    return CoMatModels(
        online=online,
        scheduler=online.make_scheduler(scheduler, IMAGE_SIDE),
        unconditional=online.encode_unconditional(1, IMAGE_SIDE),
        captioner=BrightnessCaptioner(),
        discriminator=discriminator,
        segmenter=HalfSegmenter(),
    )


def make_batch(models: CoMatModels, rows: Sequence[int] = range(4)) -> CoMatBatch:
    """The chosen prompts, and as many pairs."""
    side, channels = models.online.latent_size(IMAGE_SIDE), models.online.latent_channels
    shape = (channels, side, side)

    def latents(purpose: str) -> Tensor:
        return torch.stack([torch.randn(shape, generator=make_generator(SEED, purpose, row)) for row in rows])

    return CoMatBatch(
        prompts=[PROMPTS[row] for row in rows],
        trajectory_seeds=[derive_seed(SEED, "prompt", row) for row in rows],
        entities=[ENTITIES[row] for row in rows],
        reference_latents=latents("reference"),
        pair_ids=[f"pair-{row}" for row in rows],
        pair_captions=[CAPTIONS[row] for row in rows],
        pair_latents=latents("pairs"),
    )


@torch.no_grad()
def sample(models: CoMatModels, batch: CoMatBatch, settings: StepSettings, adapter: str | None = "online") -> Tensor:
    """Latents of the batch's prompts as the sampler alone makes them, on the same trajectories."""
    latents, generators = start_from_noise(models.online, batch.trajectory_seeds, settings.resolution)
    with active_adapter(models.online.denoiser, adapter):
        return denoise(
            models.online,
            latents,
            models.online.encode_prompts(batch.prompts, settings.resolution),
            models.unconditional.repeat(len(batch.prompts)),
            scheduler=models.scheduler,
            num_inference_steps=settings.sampling.num_inference_steps,
            guidance_scale=settings.sampling.guidance_scale,
            generators=generators,
        ).latents


@torch.no_grad()
def stir(parameters: Sequence[nn.Parameter]) -> None:
    """Replace zeros and all by noise."""
    generator = make_generator(SEED, "stir")
    for parameter in parameters:
        parameter.copy_(0.3 * torch.randn(parameter.shape, generator=generator))
