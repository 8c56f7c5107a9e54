"""Fixtures that several parts of the tests share."""

from pathlib import Path

import pytest
from hypothesis import settings

from tests.tiny_models import save_tiny_sd, save_tiny_sd2, save_tiny_sdxl

# How long an example takes says how busy the machine is, not whether the code is right.
settings.register_profile("no deadline", deadline=None)
settings.load_profile("no deadline")


@pytest.fixture(scope="session")
def tiny_sd_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny checkpoint like Stable Diffusion 1.5."""
    return save_tiny_sd(tmp_path_factory.mktemp("models") / "sd")


@pytest.fixture(scope="session")
def tiny_sd2_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny checkpoint like Stable Diffusion 2.1, with velocity prediction."""
    return save_tiny_sd2(tmp_path_factory.mktemp("models") / "sd2")


@pytest.fixture(scope="session")
def tiny_sdxl_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny checkpoint like SDXL."""
    return save_tiny_sdxl(tmp_path_factory.mktemp("models") / "sdxl")
