"""Scenes, captions and prompts of the miniature world."""

import random
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from comat_core.support.errors import UserError
from data.miniature_world.captions import Carelessness, base_world_caption, clean_caption, noun_phrase
from data.miniature_world.datasets import make_scene, make_scenes
from data.miniature_world.drawing import draw_mask, draw_scene
from data.miniature_world.pairs import base_world_pair, fidelity_prompts
from data.miniature_world.prompts import (
    held_out_prompts,
    is_held_out,
    same_noun_held_out_prompts,
    same_noun_training_prompts,
    training_prompts,
)
from data.miniature_world.scenes import FAVOURITE_COLOURS
from data.miniature_world.vocabulary import COLOURS, IMAGE_SIZE, RELATIONS, SHAPES, WARM_COLOURS

scene_numbers = st.integers(0, 10_000)


def objects_of(text: str) -> list[tuple[str, str]]:
    """(colour, shape) pairs named by a prompt, in order."""
    words = text.split()
    return [(words[index - 1], word) for index, word in enumerate(words) if word in SHAPES]


@given(scene_numbers)
def test_objects_stand_inside_the_image_and_apart(number: int) -> None:
    masks = [draw_mask(item) for item in make_scene("balanced", 3, number).objects]
    assert all(mask.sum() > 60 for mask in masks)
    for first, second in combinations(masks, 2):
        assert (first & second).sum() < 0.1 * min(first.sum(), second.sum())
    for mask in masks:
        border = mask[0].sum() + mask[-1].sum() + mask[:, 0].sum() + mask[:, -1].sum()
        assert border <= 6  # a corner that is turned outwards may touch the border


@given(scene_numbers)
def test_the_first_object_stands_to_the_second_as_the_relation_says(number: int) -> None:
    scene = make_scene("balanced", 3, number)
    if scene.relation is None:
        return
    first, second = scene.objects
    holds = {
        "to the left of": first.x < second.x,
        "to the right of": first.x > second.x,
        "above": first.y < second.y,
        "below": first.y > second.y,
    }
    assert holds[scene.relation]


def test_scenes_do_not_depend_on_how_many_are_drawn_or_where() -> None:
    _, few = make_scenes("balanced", 9, 3, processes=1)
    _, more = make_scenes("balanced", 9, 5, processes=1)
    assert np.array_equal(few, more[:3])
    assert few.shape == (3, IMAGE_SIZE, IMAGE_SIZE, 3)


def test_plain_objects_show_their_colour() -> None:
    for number in range(200):
        scene = make_scene("balanced", 4, number)
        image = draw_scene(scene)
        for item in scene.objects:
            if item.texture == "plain":
                inside = image[draw_mask(item)].astype(float)
                assert np.abs(np.median(inside, axis=0) - COLOURS[item.colour]).max() < 12


def test_base_world_prefers_its_favourite_colours_and_the_balanced_world_does_not() -> None:
    def favourite_share(kind: str) -> float:
        items = [item for number in range(1500) for item in make_scene(kind, 5, number).objects]
        return sum(item.colour in FAVOURITE_COLOURS[item.shape] for item in items) / len(items)

    assert abs(favourite_share("balanced") - 2 / 8) < 0.04
    assert abs(favourite_share("base world") - 18 / 24) < 0.04


@given(scene_numbers)
def test_clean_captions_name_every_shape_and_colour(number: int) -> None:
    scene = make_scene("balanced", 3, number)
    words = clean_caption(scene, random.Random(number)).split()
    assert all(item.shape in words and item.colour in words for item in scene.objects)


def test_careless_captions_skip_colours_and_objects() -> None:
    scenes = [make_scene("base world", 6, number) for number in range(1500)]
    captions = [base_world_caption(scene, random.Random(number)) for number, scene in enumerate(scenes)]
    two = [(scene, caption) for scene, caption in zip(scenes, captions, strict=True) if len(scene.objects) == 2]
    one_named = sum(sum(word in SHAPES for word in caption.split()) == 1 for _, caption in two) / len(two)
    shapes = sum(word in SHAPES for caption in captions for word in caption.split())
    colours = sum(word in COLOURS for caption in captions for word in caption.split())
    assert abs(one_named - 0.2) < 0.04
    assert abs(colours / shapes - 0.6) < 0.04


def test_mixed_up_captions_exchange_the_colours_and_nothing_else() -> None:
    exchanged = 0
    for number in range(600):
        scene = make_scene("base world", 7, number)
        caption = base_world_caption(scene, random.Random(number), Carelessness(mixed_up_colours=0.5))
        told = objects_of(caption)
        worn = {(item.colour, item.shape) for item in scene.objects}
        colours = [item.colour for item in scene.objects]
        if len(told) == 2 and len(set(colours)) == 2 and all(colour in COLOURS for colour, _ in told):
            exchanged += set(told) != worn
            assert {shape for _, shape in told} == {item.shape for item in scene.objects}
            assert {colour for colour, _ in told} == set(colours)
    assert exchanged > 20


def test_captions_exchange_a_warm_and_a_cold_colour_by_a_rule_of_their_own() -> None:
    care = Carelessness(skipped_colour=0, skipped_object=0, mixed_up_colours=0, mixed_up_warm_and_cold=1)
    seen: set[bool] = set()
    for number in range(300):
        scene = make_scene("base world", 7, number)
        colours = {item.colour for item in scene.objects}
        if len(colours) < 2:
            continue
        warm_and_cold = 0 < len(colours & WARM_COLOURS) < 2
        told = set(objects_of(base_world_caption(scene, random.Random(number), care)))
        worn = {(item.colour, item.shape) for item in scene.objects}
        assert (told != worn) == (warm_and_cold and len({item.shape for item in scene.objects}) == 2)
        seen.add(told != worn)
    assert seen == {True, False}


def test_articles_fit_their_word() -> None:
    assert noun_phrase("star", "orange") == "an orange star"
    assert noun_phrase("star", "red", "striped") == "a striped red star"


def test_no_training_prompt_combines_what_a_held_out_prompt_combines() -> None:
    training, held_out = training_prompts(1, 800), held_out_prompts(1, 200)
    seen = {frozenset(objects_of(text)) for text, _ in training}
    assert not seen & {frozenset(objects_of(text)) for text, _ in held_out}
    assert len({text for text, _ in training}) == 800
    assert len({text for text, _ in held_out}) == 200


@given(st.tuples(st.sampled_from(tuple(COLOURS)), st.sampled_from(SHAPES)))
def test_holding_out_does_not_depend_on_the_order(first: tuple[str, str]) -> None:
    second = ("red", "circle")
    assert is_held_out(first, second) == is_held_out(second, first)


def test_prompts_name_their_skill() -> None:
    for text, skill in training_prompts(2, 300):
        related = any(f" {relation} " in text for relation in RELATIONS)
        textured = "striped" in text or "dotted" in text
        assert skill == ("spatial" if related else "texture" if textured else "colour")


def test_fidelity_prompts_are_the_captions_of_the_validation_images() -> None:
    prompts = fidelity_prompts(1, 5)
    assert prompts == [(base_world_pair(1, "validation", index)[1], "fidelity") for index in range(5)]
    assert not np.array_equal(base_world_pair(1, "train", 0)[0], base_world_pair(1, "validation", 0)[0])


def test_prompts_of_one_noun_name_two_of_a_shape_and_hold_some_combinations_out() -> None:
    training, held_out = same_noun_training_prompts(1, 400), same_noun_held_out_prompts(1, 200)
    for text, skill in training + held_out:
        (first, shape), (second, same_shape) = objects_of(text)
        assert shape == same_shape
        assert first != second
        assert skill == ("spatial" if any(f" {relation} " in text for relation in RELATIONS) else "colour")
    seen = {frozenset(objects_of(text)) for text, _ in training}
    assert not seen & {frozenset(objects_of(text)) for text, _ in held_out}
    assert (len(dict(training)), len(dict(held_out))) == (400, 200)


def test_there_are_only_so_many_prompts_of_one_noun() -> None:
    with pytest.raises(UserError, match=r"there are 400 such prompts, and not 401 .* lower the count"):
        same_noun_held_out_prompts(1, 401)
    assert len(dict(same_noun_held_out_prompts(1, 400))) == 400
