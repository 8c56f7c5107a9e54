"""Walking a recorded walk back step by step, against autograd through the whole graph, in float64."""

from collections.abc import Mapping, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from benchmarks.gradient_estimators import GradientPlan, chained, path_coefficients, walk_back, walk_back_together
from benchmarks.gradient_estimators.recorded_walk import RecordedWalk, record_walk
from comat_core.backbones.adapters import active_adapter
from comat_core.backbones.attention_maps import CaptureRequest
from comat_core.backbones.loading import load_backbone, wrap_pipeline
from comat_core.backbones.protocol import Backbone
from comat_core.sampling.denoising import denoise
from stages.batches import AUTO, BatchSize
from tests.benchmarks.gradient_estimators.walks import GUIDANCE, distance, score, trained_model, walk
from tests.comat_core.stock_sampling import PROMPTS, STEPS
from tests.tiny_models import IMAGE_SIDE
from tests.tiny_sd3 import save_tiny_sd3

CASES = [
    ("sd", "ddim"),
    ("sd", "ddpm"),
    ("sd", "dpm-solver++"),
    ("sd3", "flow-euler"),
    ("sd3", "flow-euler-stochastic"),
]
START_STEPS = (0, 2)


@pytest.fixture(scope="module")
def _loaded(tiny_sd_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Backbone]:
    sd3 = save_tiny_sd3(tmp_path_factory.mktemp("sd3") / "model")
    return {"sd": load_backbone(tiny_sd_folder), "sd3": load_backbone(sd3)}


@pytest.fixture(params=CASES, ids=["-".join(case) for case in CASES])
def case(request: pytest.FixtureRequest, _loaded: dict[str, Backbone]) -> tuple[Backbone, str, list[nn.Parameter]]:
    """A model of the test's own, its scheduler's name, and its trained adapter."""
    kind, scheduler = request.param
    model = wrap_pipeline(deepcopy(_loaded[kind].pipeline))
    return model, scheduler, trained_model(model)


def slope(latents: Tensor) -> Tensor:
    leaf = latents.detach().requires_grad_()
    return torch.autograd.grad(score(leaf), leaf)[0]


def gone_back(recorded: RecordedWalk, plan: GradientPlan, parameters: Sequence[Tensor]) -> list[Tensor]:
    def step_gradient(step: int, of_prediction: Tensor) -> tuple[list[Tensor], Tensor | None]:
        return recorded.step_gradient(step, of_prediction, parameters, through_input=step in plan.through_input)

    return walk_back(plan, recorded.coefficients(), slope(recorded.latents), step_gradient)


@pytest.mark.parametrize(
    ("steps", "detached", "start_steps"),
    [((1, 3), True, START_STEPS), ((1, 3), False, START_STEPS), (tuple(range(STEPS)), False, None)],
)
def test_it_equals_autograd_through_the_graph(
    case: tuple[Backbone, str, list[nn.Parameter]],
    steps: tuple[int, ...],
    detached: bool,
    start_steps: Sequence[int] | None,
) -> None:
    model, scheduler, parameters = case
    result = walk(
        denoise,
        model,
        scheduler,
        gradient_steps=steps,
        detach_denoiser_input=detached,
        start_steps=start_steps,
    )
    expected = torch.autograd.grad(score(result.latents), parameters, allow_unused=True)
    recorded = walk(record_walk, model, scheduler, steps=steps, start_steps=start_steps)
    torch.testing.assert_close(recorded.latents, result.latents.detach(), rtol=0, atol=1e-12)
    # Another adapter may be active by the time of the backward pass.
    with active_adapter(model.denoiser, None):
        mine = gone_back(recorded, GradientPlan(steps) if detached else chained(steps), parameters)
    assert distance(mine, expected) < 1e-6


@pytest.mark.parametrize("at_once", [1, 2, 3, AUTO])
@pytest.mark.parametrize("unconditional_graph", [True, False])
def test_several_steps_in_one_batch_are_the_same_gradient(
    case: tuple[Backbone, str, list[nn.Parameter]], at_once: BatchSize, unconditional_graph: bool
) -> None:
    model, scheduler, parameters = case
    options: dict[str, Any] = {"steps": range(STEPS), "start_steps": START_STEPS}
    recorded = walk(record_walk, model, scheduler, **options, unconditional_graph=unconditional_graph)
    plan = GradientPlan((1, 2, 3), factor=1.5)
    sizes = []

    def gradient_of(of_predictions: Mapping[int, Tensor]) -> list[Tensor]:
        sizes.append(len(of_predictions))
        return recorded.gradient_of_steps(of_predictions, parameters)

    with active_adapter(model.denoiser, None):
        expected = gone_back(recorded, plan, parameters)
        found = walk_back_together(plan, recorded.coefficients(), slope(recorded.latents), gradient_of, at_once)
    assert distance(found, expected) < 1e-6
    assert sizes == {1: [1, 1, 1], 2: [2, 1], 3: [3], AUTO: [1, 2]}[at_once]


def test_a_share_of_a_nested_path_lies_between_none_and_all(case: tuple[Backbone, str, list[nn.Parameter]]) -> None:
    model, scheduler, parameters = case
    recorded = walk(record_walk, model, scheduler, steps=(1, 3))
    none, part, whole = (
        torch.cat([one.flatten() for one in gone_back(recorded, GradientPlan((1, 3), {(1, 3): share}), parameters)])
        for share in (0.0, 0.25, 1.0)
    )
    torch.testing.assert_close(part, 0.75 * none + 0.25 * whole, rtol=1e-6, atol=1e-9 * float(whole.abs().max()))
    assert (whole - none).norm() > 1e-3 * none.norm()


def test_the_factor_multiplies_the_sum(case: tuple[Backbone, str, list[nn.Parameter]]) -> None:
    model, scheduler, parameters = case
    recorded = walk(record_walk, model, scheduler, steps=(3,))
    once, thrice = (gone_back(recorded, GradientPlan((3,), factor=factor), parameters) for factor in (1.0, 3.0))
    for one, three in zip(once, thrice, strict=True):
        torch.testing.assert_close(3 * one, three)


def test_captured_attention_rides_along(case: tuple[Backbone, str, list[nn.Parameter]]) -> None:
    model, scheduler, parameters = case
    capture = CaptureRequest(steps=(3,), rows=[1])
    result = walk(denoise, model, scheduler, gradient_steps=(1, 3), capture=capture)
    (maps,) = result.attention_maps
    loss = score(result.latents) + torch.stack([layer.square().sum() for layer in maps.values()]).sum()
    expected = torch.autograd.grad(loss, parameters, allow_unused=True)
    recorded = walk(record_walk, model, scheduler, steps=(1, 3), capture=capture)
    (without,) = recorded.attention_maps

    def step_gradient(step: int, of_prediction: Tensor) -> tuple[list[Tensor], Tensor | None]:
        of_maps = {name: 2 * layer for name, layer in without.items()} if step == 3 else None
        return recorded.step_gradient(step, of_prediction, parameters, of_maps=of_maps)

    mine = walk_back(GradientPlan((1, 3)), recorded.coefficients(), slope(recorded.latents), step_gradient)
    assert distance(mine, expected) < 1e-6


def test_the_conditional_half_alone_is_the_gradient_with_a_constant_other_half(
    case: tuple[Backbone, str, list[nn.Parameter]],
) -> None:
    """By a graph written for it: the guided prediction with its unconditional part detached."""
    model, scheduler, parameters = case
    recorded = walk(record_walk, model, scheduler, steps=(3,), unconditional_graph=False)
    mine = gone_back(recorded, GradientPlan((3,)), parameters)
    own = model.make_scheduler(scheduler, IMAGE_SIDE)
    of_prediction = path_coefficients(own, STEPS)[3, STEPS] * slope(recorded.latents)
    x, timestep = recorded.inputs[3], own.timesteps(STEPS)[3]
    with active_adapter(model.denoiser, "online"):
        without = model.predict(x, timestep, model.encode_unconditional(len(PROMPTS), IMAGE_SIDE)).detach()
        guided = without + GUIDANCE * (model.predict(x, timestep, model.encode_prompts(PROMPTS, IMAGE_SIDE)) - without)
    expected = torch.autograd.grad(guided, parameters, of_prediction, allow_unused=True)
    assert distance(mine, expected) < 1e-6
