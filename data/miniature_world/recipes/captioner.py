"""The miniature captioner: a BLIP that learns to see, then to caption balanced scenes, then not to be fooled."""

import random
from typing import Any

import numpy as np
import torch
from transformers import BlipForConditionalGeneration, BlipProcessor

from comat_core.captioners.blip import BlipCaptioner
from comat_core.captioners.transformers_captioner import TransformersCaptioner
from comat_core.support.randomness import derive_seed
from data.miniature_world.captions import clean_caption
from data.miniature_world.datasets import make_scenes
from data.miniature_world.imperfections import decode, disturb, lead_astray
from data.miniature_world.recipes.blip import build_config, build_processor
from data.miniature_world.recipes.diffusion import encode_all
from data.miniature_world.recipes.fitting import draw_rows, fit, initialise, jitter, pixels_to_unit_range
from data.miniature_world.recipes.tokenizers import CAPTION_PREFIX
from data.miniature_world.scenes import Scene
from data.miniature_world.seeing import teach_to_see

SCENES = 30_000
SEEING_STEPS = 1_500
STEPS = 2_000
DECAY_STEPS = 4_000
"""At which the learning rate would reach zero; hardening takes it up before that."""
BATCH_SIZE = 32
LEARNING_RATE = 1.5e-3
NAMED_RELATION_SHARE = 0.8
"""Of the captions that it learns from: places are the hardest to learn."""

HARDENING_STEPS = 1_000
HARDENING_LEARNING_RATE = 6e-4
LATENT_NOISE = 0.3
WAY_ASTRAY = 0.3
"""Both in standard deviations of the scaled latents."""


def train_captioner(autoencoder: Any, seed: int) -> tuple[BlipForConditionalGeneration, BlipProcessor]:
    """Teach its vision encoder to see, then train all by maximum likelihood, last on images that try to fool it."""
    scenes, pixels = make_scenes("balanced", seed, SCENES)
    processor = build_processor(seed)
    model = BlipForConditionalGeneration(build_config(processor.tokenizer, text_layers=3))
    initialise(model, seed, "captioner")
    captioner = BlipCaptioner(model, processor, prefix=CAPTION_PREFIX)
    teach_captioner_to_see(captioner, model.vision_model, scenes, pixels, seed, steps=SEEING_STEPS)
    fit_captioner(captioner, scenes, pixels, seed, steps=STEPS, decay_steps=DECAY_STEPS)
    harden_captioner(captioner, autoencoder, scenes, pixels, seed, steps=HARDENING_STEPS, steps_before=STEPS)
    return model, processor


def teach_captioner_to_see(
    captioner: TransformersCaptioner, vision: Any, scenes: list[Scene], pixels: np.ndarray, seed: int, *, steps: int
) -> None:
    """Train a captioner's vision transformer in place to tell what stands at each patch, and where."""

    def patch_features(batch: torch.Tensor) -> torch.Tensor:
        return vision(pixel_values=captioner.preprocess(batch)).last_hidden_state[:, 1:]

    teach_to_see(
        vision,
        patch_features,
        scenes,
        torch.from_numpy(pixels),
        patch_size=vision.config.patch_size,
        width=vision.config.hidden_size,
        seed=seed,
        steps=steps,
        places=True,
    )


def fit_captioner(
    captioner: TransformersCaptioner,
    scenes: list[Scene],
    pixels: np.ndarray,
    seed: int,
    *,
    steps: int,
    decay_steps: int | None = None,
) -> None:
    """Train in place on drawn scenes, uint8 (scenes, H, W, 3), to find their captions likely."""
    images = torch.from_numpy(pixels)

    def loss_of_step(step: int) -> torch.Tensor:
        rows = draw_rows(seed, "captioner", step, len(scenes), BATCH_SIZE)
        batch = jitter(pixels_to_unit_range(images[rows]), seed, step)
        return _caption_loss(captioner, batch, _captions(scenes, rows, seed, step))

    fit(
        captioner.model,
        loss_of_step,
        steps=steps,
        learning_rate=LEARNING_RATE,
        name="captioner",
        decay_steps=decay_steps,
        average_decay=0.99,
    )


def harden_captioner(
    captioner: TransformersCaptioner,
    autoencoder: Any,
    scenes: list[Scene],
    pixels: np.ndarray,
    seed: int,
    *,
    steps: int,
    steps_before: int,
) -> None:
    """Train on as a reward is used: a third of each batch drawn, a third decoded from noisy latents, a third astray.

    Args:
        steps_before: of `fit_captioner`; the captions are drawn on from there.
    """
    images, latents = torch.from_numpy(pixels), encode_all(autoencoder, pixels)
    autoencoder.requires_grad_(False)
    third = BATCH_SIZE // 3

    def loss_of_step(step: int) -> torch.Tensor:
        rows = draw_rows(seed, "captioner hardening", step, len(scenes), 3 * third)
        captions = _captions(scenes, rows, seed, steps_before + step)
        noisy = disturb(latents[rows[third:]], seed, step, LATENT_NOISE)

        def loss_of_latents(moved: torch.Tensor) -> torch.Tensor:
            return _caption_loss(captioner, decode(autoencoder, moved), captions[2 * third :])

        noisy[third:] = lead_astray(noisy[third:], loss_of_latents, seed=seed, step=step, strength=WAY_ASTRAY)
        with torch.no_grad():
            decoded = decode(autoencoder, noisy)
        drawn = jitter(pixels_to_unit_range(images[rows[:third]]), seed, step)
        return _caption_loss(captioner, torch.cat([drawn, decoded]), captions)

    fit(
        captioner.model,
        loss_of_step,
        steps=steps,
        learning_rate=HARDENING_LEARNING_RATE,
        name="captioner, hardening",
        average_decay=0.99,
    )


def _captions(scenes: list[Scene], rows: torch.Tensor, seed: int, step: int) -> list[str]:
    random_source = random.Random(derive_seed(seed, "captioner captions", step))
    return [clean_caption(scenes[row], random_source, NAMED_RELATION_SHARE) for row in rows.tolist()]


def _caption_loss(captioner: TransformersCaptioner, images: torch.Tensor, captions: list[str]) -> torch.Tensor:
    likelihood = captioner.log_likelihood(images, captions)
    return -likelihood.log_probabilities[likelihood.mask].mean()
