"""Loaded tiny models: read once, copied for each test, so that a test may change its own."""

from collections.abc import Callable
from copy import deepcopy
from pathlib import Path

import pytest

from comat_core.backbones.loading import load_backbone, wrap_pipeline
from comat_core.backbones.protocol import Backbone

KINDS = ("sd", "sd2", "sdxl")


@pytest.fixture(scope="session")
def tiny_folders(tiny_sd_folder: Path, tiny_sd2_folder: Path, tiny_sdxl_folder: Path) -> dict[str, Path]:
    """The folders of the tiny checkpoints by kind."""
    return dict(zip(KINDS, (tiny_sd_folder, tiny_sd2_folder, tiny_sdxl_folder), strict=True))


@pytest.fixture(scope="session")
def _loaded(tiny_folders: dict[str, Path]) -> dict[str, Backbone]:
    return {kind: load_backbone(folder) for kind, folder in tiny_folders.items()}


@pytest.fixture
def tiny_model(_loaded: dict[str, Backbone]) -> Callable[[str], Backbone]:
    """Give a fresh copy of the tiny model of a kind ("sd", "sd2" or "sdxl")."""
    return lambda kind: wrap_pipeline(deepcopy(_loaded[kind].pipeline))
