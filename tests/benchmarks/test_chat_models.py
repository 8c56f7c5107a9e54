"""The plans of chat models, on tiny ones: what is planned without data is what the loaded model is planned to take."""

from pathlib import Path

import pytest
import torch

from benchmarks.chat_models import CAPTION, INSTRUCTION, Published, plan
from comat_core.captioners.chat import ChatCaptioner
from comat_core.support.memory.activation_memory import kept_activations
from stages.models.chat_models import ChatKind, chat_model_class
from tests.tiny_chat_models import SAVERS


@pytest.mark.parametrize("kind", SAVERS)
def test_a_plan_without_data_is_that_of_the_loaded_model(kind: ChatKind, tmp_path: Path) -> None:
    folder = SAVERS[kind](tmp_path / kind)
    chat = chat_model_class(kind).load(folder, dtype=torch.bfloat16)
    image_processor = type(chat).load_processor(folder, None).image_processor
    found = plan(Published(kind, chat.model.config, image_processor), folder, 48)
    score = ChatCaptioner(chat, prefix="", instruction=INSTRUCTION).prepare([CAPTION], torch.device("cpu"))

    def call() -> object:
        with torch.autocast("cpu", torch.bfloat16):
            return score(torch.zeros(1, 3, 48, 48, requires_grad=True))

    assert found.parameters == sum(weight.numel() for weight in chat.model.parameters())
    assert found.kept == kept_activations(call)
    assert found.image_tokens == chat.see(torch.zeros(1, 3, 48, 48)).features.shape[1]
