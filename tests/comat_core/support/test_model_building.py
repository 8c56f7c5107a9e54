"""Models that several threads build at once come out as if each had been alone."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
from torch import nn
from transformers import BlipForConditionalGeneration

from comat_core.backbones.adapters import add_lora
from comat_core.backbones.text_to_image import TextToImageModel
from comat_core.support.pretrained import load_frozen_model
from tests.tiny_captioners import save_tiny_blip

THREADS = 4
ROUNDS = 6

Weights = dict[str, torch.Tensor]


@pytest.fixture(scope="module")
def captioner_folder(tmp_path_factory: pytest.TempPathFactory) -> str:
    return save_tiny_blip(tmp_path_factory.mktemp("models") / "captioner")


def test_threads_do_not_disturb_each_others_models(tiny_sd_folder: Path, captioner_folder: str) -> None:
    def base() -> Weights:
        model = TextToImageModel.load(str(tiny_sd_folder))
        add_lora(model.unet, "online", rank=2, seed=1)
        return weights(model.unet) | weights(model.vae)

    def captioner() -> Weights:
        return weights(load_frozen_model(BlipForConditionalGeneration, captioner_folder))

    builders: list[Callable[[], Weights]] = [base, captioner] * (THREADS // 2)
    alone = [builder() for builder in builders]
    with ThreadPoolExecutor(THREADS) as threads:
        for _ in range(ROUNDS):
            for future, expected in zip([threads.submit(builder) for builder in builders], alone, strict=True):
                torch.testing.assert_close(future.result(timeout=300), expected, rtol=0, atol=0)


def weights(module: nn.Module) -> Weights:
    return {name: parameter.detach() for name, parameter in module.named_parameters()}
