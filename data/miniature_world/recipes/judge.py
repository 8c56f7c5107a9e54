"""The independent judge: a small ResNet that names the colour-shape pairs of an image."""

import torch
from torch.nn import functional
from transformers import ResNetConfig, ResNetForImageClassification, ViTImageProcessor

from data.miniature_world.datasets import make_scenes
from data.miniature_world.recipes.fitting import draw_rows, fit, initialise, jitter, pixels_to_unit_range
from data.miniature_world.scenes import Scene
from data.miniature_world.vocabulary import IMAGE_SIZE, colour_shape_pairs

SCENES = 30_000
STEPS = 1_500
BATCH_SIZE = 64
LEARNING_RATE = 3e-3


def train_judge(seed: int) -> tuple[ResNetForImageClassification, ViTImageProcessor]:
    """Train on balanced scenes of its own; each class is a colour-shape pair, present or not."""
    scenes, pixels = make_scenes("balanced", seed, SCENES)
    images, targets = torch.from_numpy(pixels), pair_targets(scenes)
    names = {index: f"{colour} {shape}" for index, (colour, shape) in enumerate(colour_shape_pairs())}
    config = ResNetConfig(
        embedding_size=32,
        hidden_sizes=[32, 64, 128],
        depths=[1, 1, 1],
        layer_type="basic",
        id2label=names,
        label2id={name: index for index, name in names.items()},
        problem_type="multi_label_classification",
    )
    judge = ResNetForImageClassification(config)
    initialise(judge, seed, "judge")

    def loss_of_step(step: int) -> torch.Tensor:
        rows = draw_rows(seed, "judge", step, SCENES, BATCH_SIZE)
        batch = jitter(pixels_to_unit_range(images[rows]), seed, step) * 2 - 1
        logits = judge(pixel_values=batch).logits.float()
        return functional.binary_cross_entropy_with_logits(logits, targets[rows]) * len(names)

    fit(judge, loss_of_step, steps=STEPS, learning_rate=LEARNING_RATE, name="judge")
    return judge, build_judge_processor()


def build_judge_processor() -> ViTImageProcessor:
    """Make the processor of 64 px images, which it takes from [0, 1] to [-1, 1]."""
    size = {"height": IMAGE_SIZE, "width": IMAGE_SIZE}
    return ViTImageProcessor(size=size, image_mean=[0.5] * 3, image_std=[0.5] * 3)


def pair_targets(scenes: list[Scene]) -> torch.Tensor:
    """Which pairs stand in each scene: float tensor of shape (scenes, pairs) of zeros and ones."""
    index = {pair: number for number, pair in enumerate(colour_shape_pairs())}
    targets = torch.zeros(len(scenes), len(index))
    for row, scene in enumerate(scenes):
        for item in scene.objects:
            targets[row, index[item.colour, item.shape]] = 1.0
    return targets
