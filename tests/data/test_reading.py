"""The text encoder's first lesson: which place a caption named."""

import torch
from transformers import CLIPTokenizer

from data.miniature_world.reading import NO_PLACE, PlaceReading
from data.miniature_world.recipes.tokenizers import build_clip_tokenizer
from data.miniature_world.vocabulary import RELATIONS

LENGTH, WIDTH, SEED = 16, 12, 5


def read(text: str) -> tuple[CLIPTokenizer, torch.Tensor]:
    tokenizer = build_clip_tokenizer(SEED, LENGTH)
    return tokenizer, tokenizer([text], padding="max_length", max_length=LENGTH, return_tensors="pt").input_ids


def test_every_token_from_the_place_on_has_its_class() -> None:
    for index, relation in enumerate(RELATIONS):
        tokenizer, tokens = read(f"a red circle {relation} a star")
        labels = PlaceReading(tokenizer, WIDTH, SEED).labels(tokens)[0].tolist()
        decisive = 4 + [word in ("left", "right", "above", "below") for word in relation.split()].index(True)
        assert labels == [NO_PLACE] * decisive + [1 + index] * (LENGTH - decisive)


def test_a_caption_without_a_place_has_none() -> None:
    tokenizer, tokens = read("a red circle and a star")
    assert not PlaceReading(tokenizer, WIDTH, SEED).labels(tokens).any()


def test_following_the_loss_the_places_can_be_read() -> None:
    tokenizer, tokens = read("above a star")
    lesson = PlaceReading(tokenizer, WIDTH, SEED)
    embeds = torch.zeros(1, LENGTH, WIDTH, requires_grad=True)
    before = lesson.loss(embeds, tokens)
    assert torch.isclose(before, torch.tensor(1 + len(RELATIONS)).float().log())
    before.backward()
    assert embeds.grad is not None
    moved = -300 * embeds.grad
    assert lesson.loss(moved, tokens) < 0.5 * before
    assert torch.equal((moved @ lesson.directions.T).argmax(dim=-1), lesson.labels(tokens))
