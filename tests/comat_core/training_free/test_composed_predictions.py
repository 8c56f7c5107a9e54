"""Composable Diffusion against one call of the UNet per part."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from comat_core.training_free.composed_predictions import PromptParts, composed_predictions
from tests.comat_core.stock_sampling import stock_pipeline


def encoded(pipeline: Any, texts: list[str]) -> tuple[Tensor, Tensor | None]:
    found = pipeline.encode_prompt(texts, device="cpu", num_images_per_prompt=1, do_classifier_free_guidance=False)
    return found[0], found[2] if len(found) > 2 else None


def added(pooled: Tensor | None) -> dict[str, Any]:
    if pooled is None:
        return {}
    time_ids = torch.arange(6.0).repeat(len(pooled), 1)
    return {"added_cond_kwargs": {"text_embeds": pooled, "time_ids": time_ids}}


@pytest.mark.parametrize("kind", ["sd", "sdxl"])
@torch.no_grad()
def test_each_part_predicts_for_itself(kind: str, tiny_sd_folder: Path, tiny_sdxl_folder: Path) -> None:
    pipeline = stock_pipeline(tiny_sd_folder if kind == "sd" else tiny_sdxl_folder)
    texts = [["a red circle", "a blue square", "a star"], ["a green star"]]
    parts = [encoded(pipeline, of_prompt) for of_prompt in texts]
    whole, whole_pooled = encoded(pipeline, ["a red circle above a blue square", "a green star"])
    negative, negative_pooled = encoded(pipeline, ["", ""])
    side = pipeline.unet.config.sample_size
    latents = torch.randn(2, 4, side, side, generator=torch.Generator().manual_seed(1))
    timestep = torch.tensor(500)

    def call(latents: Tensor, embeds: Tensor, pooled: Tensor | None) -> Tensor:
        return pipeline.unet(latents, timestep, encoder_hidden_states=embeds, **added(pooled), return_dict=False)[0]

    expected = call(latents, negative, negative_pooled)
    for row, (embeds, pooled) in enumerate(parts):
        base = expected[row].clone()
        sums = [
            call(latents[row][None], one[None], None if pooled is None else pooled[index][None])[0] - base
            for index, one in enumerate(embeds)
        ]
        expected = torch.cat([expected, (base + torch.stack(sums).sum(0))[None]])

    parts_pooled = [one for _, one in parts if one is not None]
    of_parts = torch.cat([embeds for embeds, _ in parts])
    given = PromptParts(of_parts, torch.cat(parts_pooled) if parts_pooled else None, (3, 1))
    both_pooled = (
        None if whole_pooled is None or negative_pooled is None else torch.cat([negative_pooled, whole_pooled])
    )
    arguments = (latents.repeat(2, 1, 1, 1), torch.cat([negative, whole]), both_pooled)
    plain = call(*arguments)
    with composed_predictions(pipeline.unet, given):
        torch.testing.assert_close(call(*arguments), expected, rtol=1e-4, atol=1e-5)
    assert torch.equal(call(*arguments), plain), "the hooks are gone"
    torch.testing.assert_close(plain[3], expected[3], rtol=1e-4, atol=1e-5)
    assert (plain[2] - expected[2]).abs().max() > 1e-3


def test_without_guidance_there_is_nothing_to_compose(tiny_sd_folder: Path) -> None:
    pipeline = stock_pipeline(tiny_sd_folder)
    embeds, _ = encoded(pipeline, ["a red circle", "a star"])
    with (
        composed_predictions(pipeline.unet, PromptParts(embeds, None, (2,))),
        pytest.raises(ValueError, match="guidance: its scale has to be above 1"),
    ):
        pipeline(["a red circle and a star"], guidance_scale=1.0, num_inference_steps=1)
