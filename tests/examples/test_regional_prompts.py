"""A tuned LoRA in a regional pipeline: every region follows it, and one region alone is the stock pipeline."""

from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import DDIMScheduler
from torch import Tensor

from comat_core.backbones.adapters import add_lora, save_lora
from comat_core.backbones.loading import load_backbone
from examples.region_plan import Region
from examples.regional_prompts import draw_regions
from tests.comat_core.backbones.test_adapters import randomise
from tests.comat_core.stock_sampling import stock_pipeline
from tests.tiny_models import IMAGE_SIDE

LEFT, RIGHT = "a red circle", "a green star"


@pytest.fixture(params=["sd", "sdxl"])
def pipeline(request: pytest.FixtureRequest, tiny_sd_folder: Path, tiny_sdxl_folder: Path, tmp_path: Path) -> Any:
    """A stock pipeline with a LoRA that is loaded and off."""
    folder = {"sd": tiny_sd_folder, "sdxl": tiny_sdxl_folder}[request.param]
    model = load_backbone(folder)
    randomise(add_lora(model, "tuned", rank=4, seed=1))
    stock = stock_pipeline(folder)
    stock.load_lora_weights(save_lora(model, tmp_path, "tuned").parent, adapter_name="comat")
    stock.scheduler = DDIMScheduler.from_config(stock.scheduler.config)
    stock.disable_lora()
    return stock


def draw(pipeline: Any, *regions: str, prompt: str = LEFT, weight: float = 0.0) -> Tensor:
    return draw_regions(
        pipeline,
        prompt,
        [Region(prompt=text) for text in regions],
        resolution=IMAGE_SIDE,
        num_inference_steps=4,
        guidance_scale=5.0,
        prompt_weight=weight,
        generator=torch.Generator().manual_seed(1),
    )


@pytest.mark.parametrize("tuned", [False, True])
def test_one_region_is_what_the_stock_pipeline_draws(pipeline: Any, tuned: bool) -> None:
    if tuned:
        pipeline.enable_lora()
    settings = {"height": IMAGE_SIDE, "width": IMAGE_SIDE, "num_inference_steps": 4, "guidance_scale": 5.0}
    generator = torch.Generator().manual_seed(1)
    stock = pipeline(LEFT, generator=generator, output_type="pt", **settings).images
    torch.testing.assert_close(draw(pipeline, LEFT), stock, atol=1e-4, rtol=0)
    torch.testing.assert_close(draw(pipeline, RIGHT, RIGHT, weight=1.0), stock, atol=1e-4, rtol=0)


def test_the_lora_acts_in_every_region_and_each_region_follows_its_prompt(pipeline: Any) -> None:
    base = draw(pipeline, LEFT, RIGHT)
    pipeline.enable_lora()
    tuned, swapped = draw(pipeline, LEFT, RIGHT), draw(pipeline, RIGHT, LEFT)
    for half in (slice(None, IMAGE_SIDE // 2), slice(IMAGE_SIDE // 2, None)):
        assert (tuned - base)[..., half].abs().max() > 0.01
        assert (tuned - swapped)[..., half].abs().max() > 1e-3
