"""Objects of one noun: which mention gets which of them."""

import itertools
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from comat_core.losses.attribute_concentration import EntityTokens, attribute_concentration_loss, resize_masks
from comat_core.support.randomness import make_generator
from comat_core.training.entity_masks import assign_instances, entity_masks, received_attention
from tests.comat_core.losses.test_attribute_concentration import ALPHA, BETA, naive_paper_map
from tests.comat_core.training.two_of_a_kind import (
    BLUE_CIRCLE,
    GREEN_STAR,
    RED_CIRCLE,
    TOKENS,
    TrueSegmenter,
    images_of,
    looking_at,
    scene_of,
    true_mask,
)

SIDES = {"mid": 4, "up": 8}


def mentions_of(count: int) -> list[EntityTokens]:
    return [EntityTokens("girl", (2 * index,), (2 * index + 1,)) for index in range(count)]


def random_maps(seed: int, rows: int = 1) -> list[dict[str, Tensor]]:
    """Maps of two steps and two layers, (rows, side, side, TOKENS)."""
    generator = make_generator(seed, "maps")
    return [
        {
            name: (3 * torch.randn(rows, side, side, TOKENS, generator=generator)).softmax(dim=-1)
            for name, side in SIDES.items()
        }
        for _ in range(2)
    ]


def random_instances(count: int, seed: int) -> Tensor:
    return torch.rand(count, 16, 16, generator=make_generator(seed, "instances")) > 0.6


def of_row(maps: list[dict[str, Tensor]], row: int = 0) -> list[dict[str, Tensor]]:
    return [{name: layer[row] for name, layer in step.items()} for step in maps]


def slowly_received(mention: EntityTokens, instance: Tensor, maps: list[dict[str, Tensor]]) -> float:
    """The attention that an instance gets from a mention, sum by sum."""
    total, layers = 0.0, [layer for step in maps for layer in step.values()]
    for attention in layers:
        height, width, _ = attention.shape
        inside = resize_masks(instance[None, None], height, width)[0, 0]
        for token in mention.tokens:
            whole = sum(attention[u, v, token].item() for u in range(height) for v in range(width))
            for u in range(height):
                for v in range(width):
                    if inside[u, v]:
                        total += attention[u, v, token].item() / whole / len(layers)
    return total


def assignments(mentions: int, instances: int) -> list[dict[int, int]]:
    """Every way of giving as many mentions as possible an instance each, none twice."""
    if mentions <= instances:
        return [dict(enumerate(chosen)) for chosen in itertools.permutations(range(instances), mentions)]
    return [
        {mention: instance for instance, mention in enumerate(chosen)}
        for chosen in itertools.permutations(range(mentions), instances)
    ]


@settings(max_examples=30, deadline=None)
@given(mentions=st.integers(1, 4), instances=st.integers(0, 4), seed=st.integers(0, 1000))
def test_no_other_assignment_receives_more_attention(mentions: int, instances: int, seed: int) -> None:
    entities, masks, maps = mentions_of(mentions), random_instances(instances, seed), of_row(random_maps(seed))
    received = received_attention(entities, masks, maps)
    assigned = assign_instances(entities, masks, maps)

    def total(assignment: dict[int, int]) -> float:
        return sum(float(received[mention, instance]) for mention, instance in assignment.items())

    assert len(assigned) == len(set(assigned.values())) == min(mentions, instances)
    best = max(map(total, assignments(mentions, instances)))
    assert total(assigned) == pytest.approx(best, abs=1e-5)


def test_received_attention_is_the_sum_over_tokens_and_pixels() -> None:
    entities, masks, maps = mentions_of(2), random_instances(3, 5), of_row(random_maps(5))
    received = received_attention(entities, masks, maps)
    slow = [[slowly_received(entity, mask, maps) for mask in masks] for entity in entities]
    torch.testing.assert_close(received, torch.tensor(slow), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("mentions", "instances"), [(3, 3), (2, 3), (3, 2)])
def test_the_assigned_masks_have_the_least_region_loss_of_all_assignments(mentions: int, instances: int) -> None:
    for seed in range(5):
        entities, masks, maps = mentions_of(mentions), random_instances(instances, seed), random_maps(seed)
        assigned = assign_instances(entities, masks, of_row(maps))

        def loss(assignment: dict[int, int], maps: list[dict[str, Tensor]] = maps, masks: Tensor = masks) -> float:
            given_masks = torch.zeros(mentions, 16, 16, dtype=torch.bool)
            for mention, instance in assignment.items():
                given_masks[mention] = masks[instance]
            losses = attribute_concentration_loss(maps, [mentions_of(mentions)], [given_masks], alpha=1.0, beta=0.0)
            return float(sum(losses))

        assert loss(assigned) == pytest.approx(min(map(loss, assignments(mentions, instances))), abs=1e-4)


TWO_CIRCLES = scene_of(("red", "circle", "left"), ("blue", "circle", "right"))


def maps_of(*rows: dict[int, Tensor]) -> list[dict[str, Tensor]]:
    return [{name: torch.stack([looking_at(row, side) for row in rows]) for name, side in SIDES.items()}]


def looks(**where: Tensor) -> dict[int, Tensor]:
    """Tokens of the entities, by their first word, and the masks at which they look."""
    entities = {"red": RED_CIRCLE, "blue": BLUE_CIRCLE, "green": GREEN_STAR}
    return {token: mask for name, mask in where.items() for token in entities[name].tokens}


@pytest.mark.parametrize("backwards", [False, True])
def test_each_of_two_drawn_circles_goes_to_the_mention_that_looks_at_it(backwards: bool) -> None:
    red, blue = map(true_mask, TWO_CIRCLES.objects)
    segmenter, images = TrueSegmenter([TWO_CIRCLES], backwards=backwards), images_of([TWO_CIRCLES])
    entities = [[RED_CIRCLE, BLUE_CIRCLE]]

    (masks,) = entity_masks(segmenter, images, entities, maps_of(looks(red=red, blue=blue)))
    (crossed,) = entity_masks(segmenter, images, entities, maps_of(looks(red=blue, blue=red)))

    assert torch.equal(masks, torch.stack([red, blue]))
    assert torch.equal(crossed, torch.stack([blue, red]))
    assert segmenter.calls[0] == ("segment_instances", [["circle"]])


def test_losses_of_assigned_masks_are_equations_4_and_5_of_each_mentions_own_circle() -> None:
    red, blue = map(true_mask, TWO_CIRCLES.objects)
    maps = [{"up": looking_at(looks(red=blue, blue=blue | red), 8)[None]}]
    entities = [RED_CIRCLE, BLUE_CIRCLE]
    masks = entity_masks(TrueSegmenter([TWO_CIRCLES]), images_of([TWO_CIRCLES]), [entities], maps)
    loss = attribute_concentration_loss(maps, [entities], masks, alpha=ALPHA, beta=BETA)
    own = resize_masks(torch.stack([blue, red])[None], 8, 8)[0]
    positive, negative = naive_paper_map(maps[0]["up"][0], entities, own)
    assert loss.positive.item() == pytest.approx(positive, rel=1e-5)
    assert loss.negative.item() == pytest.approx(negative, rel=1e-5)


def test_mentions_beyond_the_objects_get_an_empty_mask_and_objects_beyond_the_mentions_are_nobodys() -> None:
    alone = scene_of(("red", "circle", "left"))
    three = scene_of(("red", "circle", "top"), ("blue", "circle", "left"), ("black", "circle", "right"))
    none = scene_of(("green", "star", "left"))
    scenes = [alone, three, none]
    (red,), (top, left, right) = (list(map(true_mask, scene.objects)) for scene in (alone, three))
    maps = maps_of(looks(blue=red), looks(red=right, blue=top), looks())

    masks = entity_masks(TrueSegmenter(scenes), images_of(scenes), [[RED_CIRCLE, BLUE_CIRCLE]] * 3, maps)

    assert torch.equal(masks[0], torch.stack([red & False, red]))
    assert torch.equal(masks[1], torch.stack([right, top]))
    assert not (masks[1] & left).any()
    assert not masks[2].any()


def test_other_nouns_of_the_prompt_keep_all_that_is_found_of_them() -> None:
    scene = scene_of(
        ("red", "circle", "left"), ("blue", "circle", "right"), ("green", "star", "top"), ("red", "star", "bottom")
    )
    red, blue, green, other = map(true_mask, scene.objects)
    segmenter = TrueSegmenter([scene, TWO_CIRCLES])
    entities = [[RED_CIRCLE, GREEN_STAR, BLUE_CIRCLE], [GREEN_STAR, RED_CIRCLE]]
    maps = maps_of(looks(red=red, blue=blue, green=red), looks(red=red))

    masks = entity_masks(segmenter, images_of([scene, TWO_CIRCLES]), entities, maps)

    assert torch.equal(masks[0], torch.stack([red, green | other, blue]))
    assert torch.equal(masks[1], torch.stack([red & False, red | blue]))
    assert segmenter.calls == [("segment", [["star", "circle"]]), ("segment_instances", [["circle", "star"]])]


def test_a_mention_that_the_text_encoder_does_not_see_shares_its_noun_with_nobody() -> None:
    cut_off = EntityTokens("circle", (), ())
    segmenter = TrueSegmenter([TWO_CIRCLES])
    entities = [[RED_CIRCLE, cut_off]]
    (masks,) = entity_masks(segmenter, images_of([TWO_CIRCLES]), entities, maps_of({}))
    red, blue = map(true_mask, TWO_CIRCLES.objects)
    assert torch.equal(masks[0], red | blue)
    assert segmenter.calls == [("segment", [["circle", "circle"]])]


def test_prompts_without_a_shared_noun_ask_as_ever_and_look_at_no_map() -> None:
    segmenter = TrueSegmenter([TWO_CIRCLES] * 3)
    entities = [[GREEN_STAR, RED_CIRCLE], [], [BLUE_CIRCLE]]
    masks = entity_masks(segmenter, images_of([TWO_CIRCLES] * 3), entities, [])
    assert segmenter.calls == [("segment", [["star", "circle"], ["circle"]])]
    assert [len(mask) for mask in masks] == [2, 0, 1]


def test_a_row_does_not_depend_on_its_batch() -> None:
    scenes = [TWO_CIRCLES, scene_of(("blue", "circle", "top"), ("red", "circle", "bottom"))]
    entities, maps = [[RED_CIRCLE, BLUE_CIRCLE]] * 2, random_maps(3, rows=2)
    segmenter, images = TrueSegmenter(scenes), images_of(scenes)
    together = entity_masks(segmenter, images, entities, maps)
    for row in range(2):
        own = [{name: layer[row : row + 1] for name, layer in step.items()} for step in maps]
        (alone,) = entity_masks(segmenter, images[row : row + 1], entities[row : row + 1], own)
        assert torch.equal(alone, together[row])


@pytest.mark.parametrize("wrong", [math.nan, math.inf])
def test_attention_that_is_no_number_goes_on_to_where_the_step_is_thrown_away(wrong: float) -> None:
    maps = [{name: torch.full_like(layer, wrong) for name, layer in step.items()} for step in random_maps(0)]
    (masks,) = entity_masks(TrueSegmenter([TWO_CIRCLES]), images_of([TWO_CIRCLES]), [[RED_CIRCLE, BLUE_CIRCLE]], maps)
    assert masks.any(dim=(-2, -1)).all()


def test_the_maps_keep_their_graph_and_the_masks_have_none() -> None:
    logits = torch.randn(1, 8, 8, TOKENS, generator=make_generator(0, "logits")).requires_grad_()
    maps = [{"up": logits.softmax(dim=-1)}]
    entities = [[RED_CIRCLE, BLUE_CIRCLE]]
    masks = entity_masks(TrueSegmenter([TWO_CIRCLES]), images_of([TWO_CIRCLES]), entities, maps)
    losses = attribute_concentration_loss(maps, entities, masks, alpha=1.0, beta=1.0)
    (gradient,) = torch.autograd.grad(torch.stack(losses).sum(), logits)
    assert not masks[0].requires_grad
    assert gradient.abs().sum() > 0
