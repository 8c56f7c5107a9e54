"""`benchmarks.loss_gradients`: what each term asks of the LoRA, on tiny models and on gradients made up for it."""

from collections.abc import Callable

import pytest
import torch

from benchmarks.loss_gradients import TOTAL, figures_of, measure
from comat_core.rewards.names import CONCEPT_ACTIVATION
from stages.store.artifacts import Artifact
from stages.train import TrainConfig

MakeConfig = Callable[..., TrainConfig]


def test_figures_of_gradients_known_beforehand() -> None:
    caption = [torch.tensor([2.0, 0.0]), torch.tensor([0.0, 2.0])]
    fidelity = [torch.tensor([0.5, 0.0]), torch.tensor([0.5, 0.0])]
    total = [one + other for one, other in zip(caption, fidelity, strict=True)]
    gradients = {CONCEPT_ACTIVATION: caption, "fidelity": fidelity, TOTAL: total}
    assert figures_of("fidelity", gradients) == pytest.approx(
        {"norm": 0.5, "share": 0.25, "to_itself": 1.0, "to_total": (1 + 0.5 / 4.25**0.5) / 2}
    )
    assert figures_of(CONCEPT_ACTIVATION, gradients)["to_itself"] == pytest.approx(0.0)


def test_terms_add_up_to_the_total_and_grow_with_their_weights(
    make_config: MakeConfig, inputs: dict[str, Artifact]
) -> None:
    found = measure(make_config(), inputs, 2)
    terms = [gradients for name, gradients in found.items() if name != TOTAL]
    assert set(found) == {CONCEPT_ACTIVATION, "fidelity", "concentration_positive", "concentration_negative", TOTAL}
    for number, total in enumerate(found[TOTAL]):
        torch.testing.assert_close(sum(gradients[number] for gradients in terms), total, rtol=1e-4, atol=1e-7)
        assert all(float(gradients[number].norm()) > 0 for gradients in terms)
    weights = make_config().weights
    doubled = {"attribute_region": 2 * weights.attribute_region, "attribute_pixel": 2 * weights.attribute_pixel}
    twice = measure(make_config(weights=doubled), inputs, 1)
    for name in ("concentration_positive", "concentration_negative"):
        torch.testing.assert_close(twice[name][0], 2 * found[name][0], rtol=1e-3, atol=1e-9)
    torch.testing.assert_close(twice[CONCEPT_ACTIVATION][0], found[CONCEPT_ACTIVATION][0])
