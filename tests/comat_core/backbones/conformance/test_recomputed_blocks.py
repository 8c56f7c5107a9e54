"""Every family: blocks that are recomputed give both adapters the same gradients, attention maps and all."""

import torch
from torch import Tensor

from comat_core.backbones.recomputed_blocks import recompute_blocks, recomputed_blocks_of
from comat_core.training.training_step import discriminator_step
from tests.comat_core.backbones.conformance.family_case import FamilyCase
from tests.comat_core.training.training_steps import step_of
from tests.comat_core.training.training_world import make_batch, make_models, make_settings


def test_recomputed_blocks_change_no_gradient(case: FamilyCase) -> None:
    models = make_models(case.model, scheduler=case.family.scheduler)
    batch, settings = make_batch(models), make_settings()
    learned = [value for value in case.model.denoiser.parameters() if value.requires_grad]

    def gradients() -> list[Tensor | None]:
        output = step_of(models, batch, settings)
        output.total.backward()
        discriminator_step(models, batch, output, settings).loss.backward()
        found = [value.grad for value in learned]
        for value in learned:
            value.grad = None
        return found

    whole = gradients()
    recompute_blocks(case.model.denoiser)
    blocks = recomputed_blocks_of(case.model.denoiser)
    assert blocks is not None
    calls: list[object] = []
    blocks.observer = calls.append
    torch.testing.assert_close(gradients(), whole, atol=1e-5, rtol=1e-3)
    assert calls, "the denoiser has called no block through it"
