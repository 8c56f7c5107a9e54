"""One checkpoint of each captioner, built once per session."""

from pathlib import Path

import pytest

from tests.tiny_captioners import LLAVA_CHAT_TEMPLATE, save_tiny_blip, save_tiny_git, save_tiny_llava


@pytest.fixture(scope="session")
def captioner_folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    root: Path = tmp_path_factory.mktemp("captioners")
    return {
        "blip": save_tiny_blip(root / "blip"),
        "blip smoothed": save_tiny_blip(root / "blip_smoothed", label_smoothing=0.1),
        "git": save_tiny_git(root / "git"),
        "llava": save_tiny_llava(root / "llava"),
        "llava chat": save_tiny_llava(root / "llava_chat", chat_template=LLAVA_CHAT_TEMPLATE),
    }
