"""Every family: maps are the softmax that the network used, and words are found on their axis in every text stream."""

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from comat_core.backbones.attention_maps import CaptureRequest
from comat_core.support.errors import UserError
from tests.comat_core.backbones.conformance.family_case import FamilyCase
from tests.comat_core.stock_sampling import PROMPTS


def test_maps_are_the_softmax_that_the_network_used(case: FamilyCase, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is handed to the fused attention inside the chosen layer, multiplied by hand."""
    model = case.model
    layers = model.attention_layers(("*",))
    inside: list[str] = []
    used: dict[str, Tensor] = {}
    fused = functional.scaled_dot_product_attention

    def recording(query: Tensor, key: Tensor, value: Tensor, attn_mask: Any = None, **options: Any) -> Tensor:
        if inside:
            scores = query @ key.transpose(-1, -2) / query.shape[-1] ** 0.5
            used[inside[-1]] = (scores if attn_mask is None else scores + attn_mask).softmax(-1).mean(dim=1)
        return fused(query, key, value, attn_mask=attn_mask, **options)

    monkeypatch.setattr(functional, "scaled_dot_product_attention", recording)
    for name, layer in layers.items():
        layer.register_forward_pre_hook(lambda _module, _args, name=name: inside.append(name))  # pyright: ignore[reportArgumentType]
        layer.register_forward_hook(lambda _module, _args, _output: inside.clear())
    with torch.no_grad():
        (maps,) = case.sample(num_inference_steps=1, capture=CaptureRequest((0,), layers=("*",))).attention_maps
    assert set(maps) == set(layers)
    tokens = len(model.encode_prompts(PROMPTS, 32)["prompt_embeds"][0])
    for name, captured in maps.items():
        pixels = captured.shape[1] * captured.shape[2]
        rows = used[name][-len(PROMPTS) :]
        assert captured.shape[-1] == tokens
        if rows.shape[1] == pixels:  # cross-attention: all keys are text
            expected = rows
        elif case.text_first:
            expected = rows[:, tokens:, :tokens]
        else:
            expected = rows[:, :pixels, pixels:]
        torch.testing.assert_close(captured.flatten(1, 2), expected, atol=1e-5, rtol=1e-4)
        assert captured.std() > 1e-4, "uniform maps would prove nothing"
        assert captured.sum(dim=-1).max() <= 1 + 1e-5


def test_the_familys_own_layers_are_some_of_all_and_a_wrong_name_is_an_error(case: FamilyCase) -> None:
    everything, own = case.model.attention_layers(("*",)), case.model.attention_layers()
    assert set(own) <= set(everything)
    with pytest.raises(UserError, match=r"no attention layer of the .* is named nowhere"):
        case.model.attention_layers(("nowhere",))


def test_capturing_touches_the_chosen_layers_alone_and_changes_no_prediction(case: FamilyCase) -> None:
    processors = {name: layer.processor for name, layer in case.model.attention_layers(("*",)).items()}
    with torch.no_grad():
        plain = case.sample().latents
        captured = case.sample(capture=CaptureRequest((1,)))
    assert torch.equal(plain, captured.latents)
    assert set(captured.attention_maps[0]) == set(case.model.attention_layers())
    after = {name: layer.processor for name, layer in case.model.attention_layers(("*",)).items()}
    assert after == processors
    assert not any(module._forward_hooks for module in case.model.denoiser.modules())


def test_every_stream_finds_the_words_tokens(case: FamilyCase) -> None:
    """The tokens at a word's columns spell it, in each stream that the axis is made of."""
    prompt, word = PROMPTS[0], "striped"
    start = prompt.index(word)
    layout = case.model.text_layout()
    ((aligned,),) = layout.align_prompts([prompt], [[(start, start + len(word))]])
    assert not aligned.cut_off
    spelt = [spelling for spelling in _spelled(case, prompt, aligned.tokens) if spelling]
    assert spelt == [word] * len(layout.tokenizers)


def test_a_word_that_one_stream_cuts_off_is_still_a_word_of_the_others(case: FamilyCase) -> None:
    prompt = "a red circle " * 8 + "and a striped square"
    start = prompt.index("striped")
    ((aligned,),) = case.model.text_layout().align_prompts([prompt], [[(start, start + 7)]])
    sees_it_somewhere = bool(aligned.tokens)
    assert aligned.cut_off != sees_it_somewhere


def _spelled(case: FamilyCase, prompt: str, columns: tuple[int, ...]) -> list[str]:
    """What the tokens at the columns spell, one word per stream."""
    words, first = [], 0
    for tokenizer, length in case.model.text_layout().tokenizers:
        ids = case.family.kept_tokens(tokenizer, prompt, length)
        chosen = [ids[column - first] for column in columns if first <= column < first + length]
        words.append(tokenizer.decode(chosen).replace("</w>", "").replace(" ", ""))
        first += length
    return words
