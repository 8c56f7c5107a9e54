"""Every family: one step of training with every term, and every weight of the adapters hears of it."""

import torch

from comat_core.training.training_step import discriminator_step
from tests.comat_core.backbones.conformance.family_case import FamilyCase
from tests.comat_core.training.training_steps import judge_of, step_of
from tests.comat_core.training.training_world import make_batch, make_models, make_settings


def unheard(case: FamilyCase, adapter: str) -> set[str]:
    """Layers of an adapter some of whose weights got no gradient, or none but zeros."""
    return {
        name.split(".lora_")[0]
        for name, parameter in case.model.denoiser.named_parameters()
        if f".{adapter}." in name and (parameter.grad is None or not parameter.grad.abs().max() > 0)
    }


def test_a_step_with_every_term_reaches_every_weight_of_the_adapters(case: FamilyCase) -> None:
    models = make_models(case.model, scheduler=case.family.scheduler)
    batch, settings = make_batch(models), make_settings()
    output = step_of(models, batch, settings)
    assert set(output.losses) == {
        "concept_activation",
        "fidelity",
        "concentration_positive",
        "concentration_negative",
        "total",
    }
    assert all(torch.isfinite(loss) and loss != 0 for loss in output.losses.values())
    output.total.backward()
    assert unheard(case, "online") == set(case.family.unheard_layers)
    discriminator_step(models, batch, output, settings).loss.backward()
    assert unheard(case, "discriminator") == set(case.family.unheard_layers)
    head = judge_of(models).head
    assert all(parameter.grad is not None and parameter.grad.abs().max() > 0 for parameter in head.parameters())
