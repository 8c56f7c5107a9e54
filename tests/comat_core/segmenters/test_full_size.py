"""The full-size Swin-T GroundingDINO (with BERT-base) and SAM ViT-B run end to end, with random weights."""

import json
import resource
import tempfile
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from segment_anything import sam_model_registry
from torch import nn
from transformers import BertConfig, BertModel

from comat_core.segmenters.grounded_sam import GroundedSamSegmenter
from comat_core.segmenters.grounding_dino import (
    Detections,
    GroundingDinoConfig,
    GroundingDinoDetector,
    build_grounding_dino,
)
from tests.pictures import natural_pictures
from tests.tiny_captioners import word_piece_tokenizer


@pytest.fixture
def text_encoder() -> Iterator[str]:
    """Save a BERT-base with random weights, and remove its 440 MB again at once after the test."""
    with tempfile.TemporaryDirectory() as folder:
        BertModel(BertConfig()).save_pretrained(folder)
        word_piece_tokenizer().save_pretrained(folder)
        yield folder


def cpu_seconds(call: Callable[[], Any]) -> tuple[float, Any]:
    start = time.process_time()
    result = call()
    return round(time.process_time() - start, 1), result


def millions(module: nn.Module) -> int:
    return round(sum(parameter.numel() for parameter in module.parameters()) / 1e6)


@pytest.mark.slow
def test_full_size_models_segment_a_512_pixel_image(text_encoder: str) -> None:
    """The published sizes are 172 and 94 million parameters. Run with -s to see what it costs."""
    detector = GroundingDinoDetector(
        build_grounding_dino(GroundingDinoConfig(), text_encoder).eval(), box_threshold=0.0, text_threshold=0.0
    )
    sam = sam_model_registry["vit_b"](checkpoint=None).eval()
    assert (millions(detector.model), millions(sam)) == (pytest.approx(172, abs=1), pytest.approx(94, abs=1))
    images = natural_pictures(1, 512, 512)

    to_detect, (found,) = cpu_seconds(lambda: detector.detect(images, [["dog", "hot dog", "star"]]))
    best = Detections(found.boxes[:8], found.scores[:8], found.noun_indices[:8], found.phrases[:8])
    to_cut_out, masks = cpu_seconds(lambda: GroundedSamSegmenter(detector, sam)._cut_out(images[0], best, 3))

    assert len(found.boxes) == 900
    assert masks.shape == (3, 512, 512)
    assert masks.dtype == torch.bool
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    print(
        json.dumps({"cpu_seconds_to_detect": to_detect, "cpu_seconds_to_cut_out": to_cut_out, "peak_megabytes": peak})
    )
