"""The models, batch and settings that the training step is timed on: a real step on the given checkpoints."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from comat_core.backbones.adapters import add_lora, lora_parameters
from comat_core.backbones.loading import load_backbone
from comat_core.backbones.protocol import Backbone
from comat_core.captioners.blip import BlipCaptioner
from comat_core.discriminators import DenoiserDiscriminator
from comat_core.losses.attribute_concentration import EntityTokens
from comat_core.segmenters.clipseg import ClipSegSegmenter
from comat_core.support.randomness import derive_seed, make_generator, normal_noise
from comat_core.training.step_settings import StepSettings
from comat_core.training.training_inputs import CoMatBatch, CoMatModels

SEED = 0
ONLINE = "online"
"""Name of the trainable adapter; the caller switches it on."""
OBJECTS = (("red", "circle"), ("blue", "square"), ("green", "star"), ("white", "heart"), ("purple", "cross"))


@dataclass(frozen=True)
class Workload:
    """One training step, ready to run."""

    models: CoMatModels
    discriminator: DenoiserDiscriminator
    batch: CoMatBatch
    settings: StepSettings
    folder: Path | None = None
    """Of the models beside the base, where they lie in one."""

    @property
    def trainable(self) -> list[nn.Parameter]:
        """Parameters of the online adapter and of the discriminator."""
        online = lora_parameters(self.models.online.denoiser, ONLINE)
        return [*online, *self.discriminator.named_trainable_parameters().values()]

    def forget_gradients(self) -> None:
        """Drop what backward passes have left behind."""
        for parameter in self.trainable:
            parameter.grad = None


def load_workload(
    folder: Path, settings: StepSettings, *, base: Path, prompts: int, pairs: int, rank: int, device: str
) -> Workload:
    """Load a base, and the checkpoints "captioner" (BLIP) and "segmenter" (CLIPSeg) of a folder; make up a batch.

    Args:
        prompts: B.
        pairs: G.
        rank: of both adapters.
    """
    online = load_backbone(base, device=device)
    add_lora(online, ONLINE, rank=rank, seed=SEED)
    scheduler = online.make_scheduler(settings.sampling.scheduler, settings.resolution)
    discriminator = DenoiserDiscriminator(
        online,
        rank=rank,
        resolution=settings.resolution,
        timestep=scheduler.last_timestep(settings.sampling.num_inference_steps),
        seed=SEED,
        checkpoint_denoiser=settings.checkpoint_denoiser,
    )
    models = CoMatModels(
        online=online,
        scheduler=scheduler,
        unconditional=online.encode_unconditional(1, settings.resolution),
        captioner=BlipCaptioner.load(str(folder / "captioner"), device=device),
        discriminator=discriminator,
        segmenter=ClipSegSegmenter.load(str(folder / "segmenter"), device=device),
    )
    return Workload(models, discriminator, make_batch(online, settings, prompts, pairs), settings, folder)


def make_batch(online: Backbone, settings: StepSettings, prompts: int, pairs: int) -> CoMatBatch:
    """Make up prompts with entities, reference latents and pairs; latents are noise.

    Args:
        prompts: B.
        pairs: G.
    """
    texts = [_two_objects(number) for number in range(prompts)]
    shape = (online.latent_channels, *[online.latent_size(settings.resolution)] * 2)

    def latents(purpose: str, rows: int) -> torch.Tensor:
        return normal_noise(shape, [make_generator(SEED, purpose, row) for row in range(rows)], device=online.device)

    return CoMatBatch(
        prompts=texts,
        trajectory_seeds=[derive_seed(SEED, "trajectory", number) for number in range(prompts)],
        entities=[_entities(online, text) for text in texts],
        reference_latents=latents("reference", prompts),
        states={step: latents(f"state {step}", prompts) for step in settings.sampling.start_steps or () if step},
        pair_ids=list(range(pairs)),
        pair_captions=[_two_objects(prompts + number) for number in range(pairs)],
        pair_latents=latents("pair", pairs),
    )


def _two_objects(number: int) -> str:
    (first_colour, first), (second_colour, second) = OBJECTS[number % 5], OBJECTS[(number + 1) % 5]
    return f"a {first_colour} {first} and a {second_colour} {second}"


def _entities(online: Backbone, text: str) -> Sequence[EntityTokens]:
    words, spans, start, layout = text.split(), {}, 0, online.text_layout()
    for word in words:
        start = text.index(word, start)
        spans.setdefault(word, (start, start + len(word)))
    found = []
    for colour, noun in ((words[1], words[2]), (words[5], words[6])):
        (aligned,) = layout.align_prompts([text], [[spans[noun], spans[colour]]])
        found.append(EntityTokens(noun, aligned[0].tokens, aligned[1].tokens))
    return found
