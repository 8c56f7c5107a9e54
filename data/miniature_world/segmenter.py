"""The miniature segmenter: a CLIPSeg that marks where a named shape stands, or nothing."""

import random

import numpy as np
import torch
from torch.nn import functional
from transformers import CLIPSegConfig, CLIPSegForImageSegmentation, CLIPSegProcessor, ViTImageProcessor

from comat_core.randomness import derive_seed
from comat_core.segmenters.clipseg import ClipSegSegmenter
from data.miniature_world.blip import CLIP_MEAN, CLIP_STD
from data.miniature_world.datasets import make_scenes
from data.miniature_world.drawing import draw_mask
from data.miniature_world.fitting import draw_rows, fit, initialise, jitter, pixels_to_unit_range
from data.miniature_world.scenes import Scene
from data.miniature_world.tokenizers import build_clip_tokenizer
from data.miniature_world.vocabulary import COLOURS, IMAGE_SIZE, SHAPES

SCENES = 20_000
STEPS = 4_000
BATCH_SIZE = 16
LEARNING_RATE = 1e-3
PROMPT_LENGTH = 16


def train_segmenter(seed: int) -> tuple[CLIPSegForImageSegmentation, CLIPSegProcessor]:
    """Train on balanced scenes of its own; half of the words asked for are not in the image."""
    scenes, pixels = make_scenes("balanced", seed, SCENES)
    images = torch.from_numpy(pixels)
    processor = _processor(seed)
    model = CLIPSegForImageSegmentation(_config(processor))
    initialise(model, seed, "segmenter")
    segmenter = ClipSegSegmenter(model, processor)

    def loss_of_step(step: int) -> torch.Tensor:
        rows = draw_rows(seed, "segmenter", step, SCENES, BATCH_SIZE).tolist()
        random_source = random.Random(derive_seed(seed, "segmenter words", step))
        words = [ask_for(scenes[row], random_source) for row in rows]
        masks = [word_mask(scenes[row], word) for row, asked in zip(rows, words, strict=True) for word in asked]
        batch = jitter(pixels_to_unit_range(images[rows]), seed, step)
        logits = segmenter.pair_logits(batch, words).float()
        return _mask_loss(logits, torch.from_numpy(np.stack(masks)).float())

    fit(model, loss_of_step, steps=STEPS, learning_rate=LEARNING_RATE, name="segmenter", average_decay=0.99)
    return model, processor


def ask_for(scene: Scene, random_source: random.Random) -> list[str]:
    """Choose four words to look for: a shape and a colour that are there, a shape and a colour that are not.

    Only shapes are asked for later. Colours are what a patch shows by itself, and so they teach the model first that
    words name places.
    """
    item = random_source.choice(scene.objects)
    shapes, colours = ({getattr(other, kind) for other in scene.objects} for kind in ("shape", "colour"))
    absent_shape = random_source.choice([shape for shape in SHAPES if shape not in shapes])
    absent_colour = random_source.choice([colour for colour in COLOURS if colour not in colours])
    return [item.shape, item.colour, absent_shape, absent_colour]


def word_mask(scene: Scene, word: str) -> np.ndarray:
    """Union of the masks of a scene's objects of that shape or colour: bool array (IMAGE_SIZE, IMAGE_SIZE)."""
    mask = np.zeros((IMAGE_SIZE, IMAGE_SIZE), dtype=bool)
    for item in scene.objects:
        if word in (item.shape, item.colour):
            mask |= draw_mask(item)
    return mask


def _mask_loss(logits: torch.Tensor, masks: torch.Tensor) -> torch.Tensor:
    """Cross entropy plus the soft Dice loss of the masks that are not empty, which small objects feel as large ones."""
    probabilities = logits.sigmoid()
    overlap = 2 * (probabilities * masks).sum(dim=(1, 2)) / (probabilities + masks).sum(dim=(1, 2))
    dice = (1 - overlap)[masks.any(dim=2).any(dim=1)].mean()
    return functional.binary_cross_entropy_with_logits(logits, masks) + 0.1 * dice


def _processor(seed: int) -> CLIPSegProcessor:
    size = {"height": IMAGE_SIZE, "width": IMAGE_SIZE}
    image_processor = ViTImageProcessor(size=size, image_mean=list(CLIP_MEAN), image_std=list(CLIP_STD))
    return CLIPSegProcessor(image_processor, build_clip_tokenizer(seed, PROMPT_LENGTH))


def _config(processor: CLIPSegProcessor) -> CLIPSegConfig:
    tokenizer = processor.tokenizer
    shared = {"hidden_size": 64, "intermediate_size": 128, "num_attention_heads": 4}
    return CLIPSegConfig(
        text_config={
            **shared,
            "vocab_size": len(tokenizer),
            "num_hidden_layers": 2,
            "max_position_embeddings": PROMPT_LENGTH,
            "bos_token_id": tokenizer.bos_token_id,
            "eos_token_id": tokenizer.eos_token_id,
            "pad_token_id": tokenizer.pad_token_id,
        },
        vision_config={**shared, "num_hidden_layers": 3, "image_size": IMAGE_SIZE, "patch_size": 8},
        projection_dim=64,
        extract_layers=[1, 2],
        reduce_dim=32,
        decoder_num_attention_heads=4,
        decoder_intermediate_size=64,
    )
