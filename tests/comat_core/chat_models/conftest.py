"""One checkpoint of each chat model, built once per session."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from transformers.models.smolvlm import processing_smolvlm

from comat_core.chat_models.chat_model import ChatModel
from comat_core.chat_models.qwen_vl import Qwen3VisionLanguage, Qwen25VisionLanguage
from comat_core.chat_models.smolvlm import SmolVisionLanguage
from comat_core.support.pretrained import load_processor
from tests.tiny_chat_models import SAVERS

KINDS: dict[str, type[ChatModel]] = {
    "qwen2_5_vl": Qwen25VisionLanguage,
    "qwen3_vl": Qwen3VisionLanguage,
    "smolvlm": SmolVisionLanguage,
}


@pytest.fixture(scope="session")
def chat_folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    root: Path = tmp_path_factory.mktemp("chat_models")
    return {kind: save(root / kind) for kind, save in SAVERS.items()}


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def chat(kind: str, chat_folders: dict[str, str]) -> ChatModel:
    return KINDS[kind].load(chat_folders[kind])


@pytest.fixture
def own_inputs(kind: str, chat_folders: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """What the checkpoint's own processor makes of images and texts with one image token each."""
    monkeypatch.setattr(processing_smolvlm, "num2words", str)
    processor = load_processor(chat_folders[kind])
    settings = {"do_image_splitting": False} if kind == "smolvlm" else {}

    def prepare(images: list[Any], texts: list[str]) -> Any:
        nested = [[image] for image in images]
        return processor(images=nested, text=texts, padding=True, padding_side="right", return_tensors="pt", **settings)

    return prepare
