"""The miniature captioner: a BLIP trained on clean captions of balanced scenes."""

import random

import torch
from transformers import BlipForConditionalGeneration, BlipProcessor

from comat_core.captioners.blip import BlipCaptioner
from comat_core.randomness import derive_seed
from data.miniature_world.blip import build_config, build_processor
from data.miniature_world.captions import clean_caption
from data.miniature_world.datasets import make_scenes
from data.miniature_world.fitting import draw_rows, fit, initialise, jitter, pixels_to_unit_range
from data.miniature_world.tokenizers import CAPTION_PREFIX

SCENES = 30_000
STEPS = 5_000
BATCH_SIZE = 32
LEARNING_RATE = 1.5e-3


def train_captioner(seed: int, name: str = "captioner") -> tuple[BlipForConditionalGeneration, BlipProcessor]:
    """Train by maximum likelihood, through the same code that later scores generated images."""
    scenes, pixels = make_scenes("balanced", seed, SCENES)
    images = torch.from_numpy(pixels)
    processor = build_processor(seed)
    model = BlipForConditionalGeneration(build_config(processor.tokenizer, text_layers=3))
    initialise(model, seed, "captioner")
    captioner = BlipCaptioner(model, processor, prefix=CAPTION_PREFIX)

    def loss_of_step(step: int) -> torch.Tensor:
        rows = draw_rows(seed, "captioner", step, SCENES, BATCH_SIZE)
        random_source = random.Random(derive_seed(seed, "captioner captions", step))
        captions = [clean_caption(scenes[row], random_source) for row in rows.tolist()]
        batch = jitter(pixels_to_unit_range(images[rows]), seed, step)
        likelihood = captioner.log_likelihood(batch, captions)
        return -likelihood.log_probabilities[likelihood.mask].mean()

    fit(model, loss_of_step, steps=STEPS, learning_rate=LEARNING_RATE, name=name, average_decay=0.99)
    return model, processor
