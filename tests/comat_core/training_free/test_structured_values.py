"""Structured Diffusion Guidance against attention that goes through every encoding one by one."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from comat_core.training_free.structured_values import structured_embeddings, structured_values
from tests.comat_core.stock_sampling import stock_pipeline


class MeanOverEncodings:
    """An attention processor that takes maps from the prompt and averages M V_i over the given encodings."""

    def __init__(self, encodings: list[Tensor]) -> None:
        self.encodings = encodings

    def __call__(self, attn: Any, hidden_states: Tensor, encoder_hidden_states: Tensor, *_: Any, **__: Any) -> Tensor:
        query = attn.head_to_batch_dim(attn.to_q(hidden_states))
        key = attn.head_to_batch_dim(attn.to_k(encoder_hidden_states))
        maps = attn.get_attention_scores(query, key)
        values = [attn.head_to_batch_dim(attn.to_v(encoding)) for encoding in self.encodings]
        mean = torch.stack([maps @ value for value in values]).mean(0)
        return attn.to_out[1](attn.to_out[0](attn.batch_to_head_dim(mean)))


@pytest.mark.parametrize("kind", ["sd", "sdxl"])
@torch.no_grad()
def test_values_are_the_mean_over_the_encodings(kind: str, tiny_sd_folder: Path, tiny_sdxl_folder: Path) -> None:
    pipeline = stock_pipeline(tiny_sd_folder if kind == "sd" else tiny_sdxl_folder)
    unet = pipeline.unet
    random = torch.Generator().manual_seed(2)
    side, width = unet.config.sample_size, unet.config.cross_attention_dim
    latents = torch.randn(2, 4, side, side, generator=random)
    negative, whole, *phrases = torch.randn(4, 1, 12, width, generator=random)
    places = [[2, 3], [5, 6, 7]]
    conditions: dict[str, Any] = {"return_dict": False}
    if kind == "sdxl":
        pooled = torch.randn(2, pipeline.text_encoder_2.config.projection_dim, generator=random)
        conditions["added_cond_kwargs"] = {"text_embeds": pooled, "time_ids": torch.arange(6.0).repeat(2, 1)}

    def call(rows: slice, states: Tensor) -> Tensor:
        given = dict(conditions)
        if "added_cond_kwargs" in given:
            given["added_cond_kwargs"] = {name: one[rows] for name, one in given["added_cond_kwargs"].items()}
        return unet(latents[rows], torch.tensor(300), encoder_hidden_states=states, **given)[0]

    structured = structured_embeddings(whole[0], torch.cat(phrases), places)[None]
    plain = call(slice(0, 2), torch.cat([negative, whole]))
    with structured_values(unet, structured):
        both = call(slice(0, 2), torch.cat([negative, whole]))
        alone = call(slice(1, 2), whole)
    torch.testing.assert_close(both[0], plain[0])
    assert (both[1] - plain[1]).abs().max() > 1e-4
    assert torch.equal(call(slice(0, 2), torch.cat([negative, whole])), plain), "the hooks are gone"

    encodings = [whole]
    for phrase, tokens in zip(phrases, places, strict=True):
        encodings.append(whole.clone())
        for position, token in enumerate(tokens):
            encodings[-1][0, token] = phrase[0, position + 1]
    own = dict(unet.attn_processors)
    by_hand = MeanOverEncodings(encodings)
    unet.set_attn_processor({name: by_hand if ".attn2." in name else one for name, one in own.items()})
    expected = call(slice(1, 2), whole)
    torch.testing.assert_close(both[1:], expected, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(alone, expected, rtol=1e-4, atol=1e-5)


def test_a_prompt_without_phrases_keeps_its_encoding() -> None:
    whole = torch.randn(7, 4)
    assert torch.equal(structured_embeddings(whole, torch.empty(0, 7, 4), []), whole)
