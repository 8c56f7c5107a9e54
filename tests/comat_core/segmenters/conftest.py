"""The tiny GroundingDINO and SAM files, written once per session."""

import pytest
import segment_anything

from comat_core.segmenters.grounding_dino import GroundingDinoDetector
from tests.tiny_segmenters import TINY_DETECTOR, save_tiny_bert, save_tiny_detector, save_tiny_sam, tiny_sam


@pytest.fixture(scope="session")
def text_encoder(tmp_path_factory: pytest.TempPathFactory) -> str:
    return save_tiny_bert(tmp_path_factory.mktemp("bert"))


@pytest.fixture(scope="session")
def detector_file(tmp_path_factory: pytest.TempPathFactory, text_encoder: str) -> str:
    return save_tiny_detector(tmp_path_factory.mktemp("detector"), text_encoder)


@pytest.fixture(scope="session")
def detector(detector_file: str, text_encoder: str) -> GroundingDinoDetector:
    return GroundingDinoDetector.load(
        detector_file, text_encoder=text_encoder, config=TINY_DETECTOR, shorter_side=64, longer_side=112
    )


@pytest.fixture(scope="session")
def sam_file(tmp_path_factory: pytest.TempPathFactory) -> str:
    return save_tiny_sam(tmp_path_factory.mktemp("sam"))


@pytest.fixture
def _tiny_sam_type(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(segment_anything.sam_model_registry, "vit_tiny", tiny_sam)
