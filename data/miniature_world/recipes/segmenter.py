"""The miniature segmenter: a CLIPSeg that marks where a named shape stands, or nothing."""

from collections.abc import Callable

import numpy as np
import torch
from torch.nn import functional
from transformers import CLIPSegConfig, CLIPSegForImageSegmentation, CLIPSegProcessor, ViTImageProcessor

from comat_core.segmenters.clipseg import ClipSegSegmenter
from comat_core.support.image_preprocessing import ImagePreprocessing
from data.miniature_world.datasets import make_scenes
from data.miniature_world.drawing import draw_mask
from data.miniature_world.recipes.blip import CLIP_MEAN, CLIP_STD
from data.miniature_world.recipes.fitting import draw_rows, fit, initialise, jitter, pixels_to_unit_range
from data.miniature_world.recipes.tokenizers import build_clip_tokenizer
from data.miniature_world.scenes import Scene
from data.miniature_world.seeing import patch_labels, teach_to_see
from data.miniature_world.vocabulary import IMAGE_SIZE, SHAPES

SCENES = 20_000
WORD_STEPS = 800
STEPS = 3_000
BATCH_SIZE = 16
LEARNING_RATE = 1e-3
PROMPT_LENGTH = 16
WIDTH = 64
PATCH_SIZE = 8


def train_segmenter(seed: int) -> tuple[CLIPSegForImageSegmentation, CLIPSegProcessor]:
    """Train on balanced scenes of its own: to see, to tie words to patches, then to draw masks.

    Every shape is asked for in every image, so that most of the masks are empty ones.
    """
    scenes, pixels = make_scenes("balanced", seed, SCENES)
    images = torch.from_numpy(pixels)
    processor = _processor(seed)
    model = CLIPSegForImageSegmentation(_config(processor))
    initialise(model, seed, "segmenter")
    preprocess = ImagePreprocessing.from_processor(processor.image_processor, "the miniature segmenter")
    vision = model.clip.vision_model

    def patch_features(batch: torch.Tensor) -> torch.Tensor:
        return vision(pixel_values=preprocess(batch)).last_hidden_state[:, 1:]

    teach_to_see(vision, patch_features, scenes, images, patch_size=PATCH_SIZE, width=WIDTH, seed=seed)
    _teach_words(model, processor, patch_features, scenes, images, seed)
    segmenter = ClipSegSegmenter(model, processor)

    def loss_of_step(step: int) -> torch.Tensor:
        rows = draw_rows(seed, "segmenter", step, SCENES, BATCH_SIZE)
        masks = np.stack([word_mask(scenes[row], shape) for row in rows.tolist() for shape in SHAPES])
        batch = jitter(pixels_to_unit_range(images[rows]), seed, step)
        logits = segmenter.pair_logits(batch, [SHAPES] * len(rows)).float()
        return _mask_loss(logits, torch.from_numpy(masks).float())

    fit(model, loss_of_step, steps=STEPS, learning_rate=LEARNING_RATE, name="segmenter", average_decay=0.99)
    return model, processor


def _teach_words(
    model: CLIPSegForImageSegmentation,
    processor: CLIPSegProcessor,
    patch_features: Callable[[torch.Tensor], torch.Tensor],
    scenes: list[Scene],
    images: torch.Tensor,
    seed: int,
) -> None:
    """Train the CLIP inside to match each patch with the word for its shape, or with none.

    Words that only ever steer the drawing of masks stay alike for thousands of steps: nothing pulls them apart.
    """
    words = processor.tokenizer(list(SHAPES), padding=True, return_tensors="pt")
    labels = torch.from_numpy(np.stack([patch_labels(scene, PATCH_SIZE)[:, 0] for scene in scenes]))

    def loss_of_step(step: int) -> torch.Tensor:
        rows = draw_rows(seed, "words", step, len(scenes), BATCH_SIZE)
        patches = model.clip.visual_projection(patch_features(jitter(pixels_to_unit_range(images[rows]), seed, step)))
        pooled = model.clip.text_model(input_ids=words.input_ids, attention_mask=words.attention_mask).pooler_output
        logits = (patches @ model.clip.text_projection(pooled).T).float()
        none = torch.zeros_like(logits[..., :1])
        return functional.cross_entropy(torch.cat([none, logits], -1).flatten(0, 1), labels[rows].long().flatten())

    fit(model.clip, loss_of_step, steps=WORD_STEPS, learning_rate=LEARNING_RATE, name="segmenter, words")


def word_mask(scene: Scene, shape: str) -> np.ndarray:
    """Union of the masks of a scene's objects of that shape: bool array (IMAGE_SIZE, IMAGE_SIZE)."""
    mask = np.zeros((IMAGE_SIZE, IMAGE_SIZE), dtype=bool)
    for item in scene.objects:
        if item.shape == shape:
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
    shared = {"hidden_size": WIDTH, "intermediate_size": 128, "num_attention_heads": 4}
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
        vision_config={**shared, "num_hidden_layers": 3, "image_size": IMAGE_SIZE, "patch_size": PATCH_SIZE},
        projection_dim=64,
        extract_layers=[1, 2],
        reduce_dim=32,
        decoder_num_attention_heads=4,
        decoder_intermediate_size=64,
    )
