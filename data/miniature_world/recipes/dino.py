"""The miniature DINO: a vision transformer whose patches tell what they show, for a discriminator on images.

The original learns such features without labels, from more images than this world needs. Ours is told what stands at
each patch, which gives features of the same use in minutes.
"""

import torch
from transformers import BitImageProcessor, Dinov2Config, Dinov2Model

from comat_core.support.image_preprocessing import ImagePreprocessing
from data.miniature_world.datasets import make_scenes
from data.miniature_world.recipes.fitting import initialise
from data.miniature_world.seeing import teach_to_see
from data.miniature_world.vocabulary import IMAGE_SIZE

SCENES = 20_000
STEPS = 1_500
WIDTH = 64
PATCH_SIZE = 8
IMAGE_NET_MEAN = (0.485, 0.456, 0.406)
IMAGE_NET_STD = (0.229, 0.224, 0.225)


def train_dino(seed: int) -> tuple[Dinov2Model, BitImageProcessor]:
    """Train on balanced scenes of its own to tell shape, colour and texture of every patch."""
    scenes, pixels = make_scenes("balanced", seed, SCENES)
    processor = _processor()
    model = Dinov2Model(_config())
    initialise(model, seed, "dino")
    preprocess = ImagePreprocessing.from_processor(processor, "the miniature DINO")

    def patch_features(batch: torch.Tensor) -> torch.Tensor:
        return model(pixel_values=preprocess(batch)).last_hidden_state[:, 1:]

    images = torch.from_numpy(pixels)
    teach_to_see(model, patch_features, scenes, images, patch_size=PATCH_SIZE, width=WIDTH, seed=seed, steps=STEPS)
    return model, processor


def _processor() -> BitImageProcessor:
    return BitImageProcessor(
        size={"shortest_edge": IMAGE_SIZE},
        crop_size={"height": IMAGE_SIZE, "width": IMAGE_SIZE},
        image_mean=list(IMAGE_NET_MEAN),
        image_std=list(IMAGE_NET_STD),
    )


def _config() -> Dinov2Config:
    return Dinov2Config(
        hidden_size=WIDTH,
        num_hidden_layers=4,
        num_attention_heads=4,
        mlp_ratio=2,
        image_size=IMAGE_SIZE,
        patch_size=PATCH_SIZE,
        drop_path_rate=0.0,
    )
