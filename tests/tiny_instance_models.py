"""Tiny Mask2Former and DPT checkpoints of the real architectures and formats."""

from pathlib import Path
from typing import Any

import torch
from transformers import (
    DPTConfig,
    DPTForDepthEstimation,
    DPTImageProcessor,
    Mask2FormerConfig,
    Mask2FormerForUniversalSegmentation,
    Mask2FormerImageProcessor,
    SwinConfig,
)

from tests.deterministic_weights import fill_with_noise

QUERIES = 6


def tiny_mask2former(class_names: list[str]) -> Mask2FormerForUniversalSegmentation:
    """Make a Mask2Former with a Swin backbone and random weights."""
    settings: dict[str, Any] = {
        "image_size": 64,
        "embed_dim": 8,
        "depths": [1, 1, 1, 1],
        "num_heads": [1, 2, 2, 2],
        "window_size": 4,
        "drop_path_rate": 0.0,
        "out_features": ["stage1", "stage2", "stage3", "stage4"],
    }
    config = Mask2FormerConfig(
        backbone_config=SwinConfig(**settings),
        feature_size=32,
        mask_feature_size=32,
        hidden_dim=32,
        encoder_feedforward_dim=32,
        encoder_layers=1,
        decoder_layers=2,
        num_attention_heads=2,
        dim_feedforward=32,
        num_queries=QUERIES,
        id2label=dict(enumerate(class_names)),
        label2id={name: index for index, name in enumerate(class_names)},
    )
    return fill_with_noise(Mask2FormerForUniversalSegmentation(config), seed=21).eval()


def save_tiny_mask2former(folder: Path, class_names: list[str]) -> str:
    """Save a Mask2Former and its image processor."""
    model = tiny_mask2former(class_names)
    with torch.no_grad():
        model.class_predictor.weight.mul_(4)  # surer of its classes than noise alone is
    model.save_pretrained(folder)
    Mask2FormerImageProcessor().save_pretrained(folder)
    return str(folder)


def save_tiny_dpt(folder: Path) -> str:
    """Save a DPTForDepthEstimation and its image processor."""
    config = DPTConfig(
        hidden_size=16,
        num_hidden_layers=4,
        num_attention_heads=2,
        intermediate_size=32,
        image_size=32,
        patch_size=8,
        backbone_out_indices=[0, 1, 2, 3],
        neck_hidden_sizes=[8, 8, 8, 8],
        fusion_hidden_size=8,
        reassemble_factors=[4, 2, 1, 0.5],
    )
    fill_with_noise(DPTForDepthEstimation(config), seed=22).save_pretrained(folder)
    DPTImageProcessor(size={"height": 32, "width": 32}).save_pretrained(folder)
    return str(folder)
