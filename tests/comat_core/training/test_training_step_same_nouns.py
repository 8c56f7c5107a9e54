"""A training step on a prompt with two objects of one noun."""

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from comat_core.losses.attribute_concentration import EntityTokens
from comat_core.training.step_settings import LossWeights
from comat_core.training.training_inputs import CoMatBatch, CoMatModels
from tests.comat_core.training.training_steps import ModelOf, assert_close, gradients, step_of
from tests.comat_core.training.training_world import make_batch, make_models, make_settings

CONCENTRATION = make_settings(
    LossWeights(concept_activation=0.0, fidelity=0.0, attribute_region=0.2, attribute_pixel=0.1)
)
GIRLS = (EntityTokens("girl", (3,), (2,)), EntityTokens("hat", (4,)), EntityTokens("girl", (6,), (5,)))


class Halves:
    """Finds one object of every noun in each half of an image."""

    def __init__(self) -> None:
        self.networks: dict[str, nn.Module] = {}

    def segment(self, images: Tensor, nouns: Sequence[Sequence[str]]) -> list[Tensor]:
        return [torch.ones(len(row), *images.shape[-2:], dtype=torch.bool) for row in nouns]

    def segment_instances(self, images: Tensor, nouns: Sequence[Sequence[str]]) -> list[list[Tensor]]:
        halves = torch.zeros(2, *images.shape[-2:], dtype=torch.bool)
        halves[0, :, : images.shape[-1] // 2] = True
        halves[1] = ~halves[0]
        return [[halves for _ in row] for row in nouns]


class Given:
    """Finds what it is told to find."""

    def __init__(self, masks: Sequence[Tensor]) -> None:
        self.networks: dict[str, nn.Module] = {}
        self.masks = list(masks)

    def segment(self, images: Tensor, nouns: Sequence[Sequence[str]]) -> list[Tensor]:
        assert len(images) == len(nouns) == len(self.masks)
        return self.masks

    def segment_instances(self, images: Tensor, nouns: Sequence[Sequence[str]]) -> list[list[Tensor]]:
        raise AssertionError((images.shape, nouns))


def girls(models: CoMatModels, rows: Sequence[int] = (0, 1)) -> CoMatBatch:
    return replace(make_batch(models, rows), entities=[GIRLS for _ in rows])


def test_each_mention_has_an_object_of_its_own_and_the_losses_are_those_of_these_masks(tiny_model: ModelOf) -> None:
    models = replace(make_models(tiny_model("sd")), segmenter=Halves())
    batch = girls(models)
    output = step_of(models, batch, CONCENTRATION)
    assert output.masks is not None
    for first, hat, second in output.masks:
        assert torch.equal(first, ~second) and first.any() and second.any()
        assert hat.all()

    # As if the nouns were different ones, and the segmenter knew them.
    apart = [[replace(entity, noun=f"noun {place}") for place, entity in enumerate(GIRLS)] for _ in batch.prompts]
    told = step_of(replace(models, segmenter=Given(output.masks)), replace(batch, entities=apart), CONCENTRATION)
    assert {name: loss.item() for name, loss in output.losses.items()} == {
        name: loss.item() for name, loss in told.losses.items()
    }
    assert_close(gradients(models, output.total), gradients(models, told.total))


def test_the_order_of_the_mentions_does_not_decide_who_gets_what(tiny_model: ModelOf) -> None:
    models = replace(make_models(tiny_model("sd")), segmenter=Halves())
    batch = girls(models)
    output = step_of(models, batch, CONCENTRATION)
    turned = step_of(models, replace(batch, entities=[GIRLS[::-1] for _ in batch.prompts]), CONCENTRATION)
    assert output.masks is not None and turned.masks is not None
    for one, other in zip(output.masks, turned.masks, strict=True):
        assert torch.equal(one, other.flip(0))


def test_a_step_repeats_exactly_and_accumulated_rows_equal_their_batch(tiny_model: ModelOf) -> None:
    models = replace(make_models(tiny_model("sd")), segmenter=Halves())
    whole, again = (step_of(models, girls(models), CONCENTRATION, step=2) for _ in range(2))
    assert whole.losses["total"].item() == again.losses["total"].item()
    parts = [step_of(models, girls(models, [row]), CONCENTRATION, step=2) for row in (0, 1)]
    assert whole.masks is not None
    for row, part in enumerate(parts):
        assert part.masks is not None
        assert torch.equal(whole.masks[row], part.masks[0])
    assert_close(gradients(models, whole.total), gradients(models, *(part.total / 2 for part in parts)))
