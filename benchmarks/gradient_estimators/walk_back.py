"""The gradient of a walk that was made without a graph: one denoising step after the other, or several in a batch."""

from collections.abc import Callable, Mapping, Sequence

from torch import Tensor

from benchmarks.gradient_estimators.plan import GradientPlan
from stages.batches import BatchSize, batches

StepGradient = Callable[[int, Tensor], tuple[Sequence[Tensor], Tensor | None]]
"""(step, dL/dprediction (B, C, h, w)) -> dL/dparameter of each, and dL/dinput (B, C, h, w) where the plan wants it."""

StepsGradient = Callable[[Mapping[int, Tensor]], Sequence[Tensor]]
"""Step -> dL/dprediction (B, C, h, w); returns dL/dparameter of each, added up over these steps."""


def walk_back(plan: GradientPlan, coefficients: Tensor, of_result: Tensor, step_gradient: StepGradient) -> list[Tensor]:
    """Add up the parts of the chosen steps, latest first; only one step's graph exists at a time.

    dL/dprediction_i = c_iT dL/dz_0 + sum over later j of share_ij c_ij dL/dx_j, the sum over what the plan nests.

    Args:
        coefficients: (T, T + 1, B), what stands in each row's latents of a prediction (`path_coefficients`).
        of_result: dL/dz_0 (B, C, h, w).
        step_gradient: walks one prediction back through the denoiser.
    """
    weights = coefficients.to(of_result)[..., None, None, None]
    of_inputs: dict[int, Tensor] = {}
    total: list[Tensor] = []
    for step in reversed(plan.steps):
        of_prediction = weights[step, -1] * of_result
        for later, of_input in of_inputs.items():
            share = plan.nested.get((step, later), 0.0)
            if share:
                of_prediction = of_prediction + share * weights[step, later] * of_input
        parts, of_input = step_gradient(step, of_prediction)
        if of_input is not None:
            of_inputs[step] = of_input
        total = _added(total, parts)
    return [plan.factor * one for one in total]


def walk_back_together(
    plan: GradientPlan, coefficients: Tensor, of_result: Tensor, gradient_of: StepsGradient, at_once: BatchSize
) -> list[Tensor]:
    """As `walk_back` for a plan that nests nothing, whose steps do not wait for one another.

    Args:
        gradient_of: walks the predictions of several steps back through one call of the denoiser.
        at_once: steps in a call, or "auto" for as many as fit the memory.
    """
    assert not plan.nested, "a nested step needs the gradient at the input of a later one"
    weights = coefficients.to(of_result)[..., None, None, None]
    total: list[Tensor] = []
    for steps in batches(plan.steps, at_once):
        total = _added(total, gradient_of({step: weights[step, -1] * of_result for step in steps}))
    return [plan.factor * one for one in total]


def _added(total: Sequence[Tensor], parts: Sequence[Tensor]) -> list[Tensor]:
    return [one + part for one, part in zip(total, parts, strict=True)] if total else list(parts)
