"""The full-size Swin-T GroundingDINO (with BERT-base) and SAM ViT-B run end to end, with random weights."""

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
from comat_core.segmenters.grounding_dino import GroundingDinoConfig, GroundingDinoDetector, build_grounding_dino
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
def test_full_size_models_segment_a_512_pixel_image(text_encoder: str, record_property: Any) -> None:
    detector = GroundingDinoDetector(build_grounding_dino(GroundingDinoConfig(), text_encoder).eval())
    sam = sam_model_registry["vit_b"](checkpoint=None).eval()
    assert (millions(detector.model), millions(sam)) == (172, 94)
    images = natural_pictures(1, 512, 512)
    nouns = [["dog", "hot dog", "star"]]
    detector.box_threshold = detector.text_threshold = 0.0

    seconds_to_detect, (detections,) = cpu_seconds(lambda: detector.detect(images, nouns))
    detector.box_threshold = float(detections.scores[8])
    segmenter = GroundedSamSegmenter(detector, sam)
    seconds_to_segment, (masks,) = cpu_seconds(lambda: segmenter.segment(images, nouns))

    assert len(detections.boxes) == 900
    assert masks.shape == (3, 512, 512)
    assert masks.dtype == torch.bool
    record_property("cpu seconds to detect", seconds_to_detect)
    record_property("cpu seconds to detect and segment", seconds_to_segment)
    record_property("peak memory in MB", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
