"""The miniature segmenter: a CLIPSeg that marks where a named shape stands, or nothing."""

import numpy as np
import torch
from torch.nn import functional
from transformers import CLIPSegConfig, CLIPSegForImageSegmentation, CLIPSegProcessor, ViTImageProcessor

from comat_core.segmenters.clipseg import ClipSegSegmenter
from data.miniature_world.blip import CLIP_MEAN, CLIP_STD
from data.miniature_world.datasets import make_scenes
from data.miniature_world.drawing import draw_mask
from data.miniature_world.fitting import draw_rows, fit, initialise, jitter, pixels_to_unit_range
from data.miniature_world.scenes import Scene
from data.miniature_world.tokenizers import build_clip_tokenizer
from data.miniature_world.vocabulary import IMAGE_SIZE, SHAPES

SCENES = 20_000
STEPS = 2_500
BATCH_SIZE = 16
LEARNING_RATE = 1.5e-3
PROMPT_LENGTH = 16


def train_segmenter(seed: int) -> tuple[CLIPSegForImageSegmentation, CLIPSegProcessor]:
    """Train on balanced scenes of its own; every image is asked for every noun, most of which it does not show."""
    scenes, pixels = make_scenes("balanced", seed, SCENES)
    images = torch.from_numpy(pixels)
    processor = _processor(seed)
    model = CLIPSegForImageSegmentation(_config(processor))
    initialise(model, seed, "segmenter")
    segmenter = ClipSegSegmenter(model, processor)

    def loss_of_step(step: int) -> torch.Tensor:
        rows = draw_rows(seed, "segmenter", step, SCENES, BATCH_SIZE)
        batch = jitter(pixels_to_unit_range(images[rows]), seed, step)
        masks = [noun_mask(scenes[row], noun) for row in rows.tolist() for noun in SHAPES]
        logits = segmenter.pair_logits(batch, [SHAPES] * BATCH_SIZE).float()
        return functional.binary_cross_entropy_with_logits(logits, torch.from_numpy(np.stack(masks)).float())

    fit(model, loss_of_step, steps=STEPS, learning_rate=LEARNING_RATE, name="segmenter", average_decay=0.99)
    return model, processor


def noun_mask(scene: Scene, noun: str) -> np.ndarray:
    """Union of the masks of a scene's objects of the given shape: bool array (IMAGE_SIZE, IMAGE_SIZE)."""
    mask = np.zeros((IMAGE_SIZE, IMAGE_SIZE), dtype=bool)
    for item in scene.objects:
        if item.shape == noun:
            mask |= draw_mask(item)
    return mask


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
