"""The gradient of a walk that was made without a graph, one denoising step after the other."""

from collections.abc import Callable, Sequence

from torch import Tensor

from benchmarks.gradient_estimators.plan import GradientPlan

StepGradient = Callable[[int, Tensor], tuple[Sequence[Tensor], Tensor | None]]
"""(step, dL/dprediction (B, C, h, w)) -> dL/dparameter of each, and dL/dinput (B, C, h, w) where the plan wants it."""


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
        total = [one + part for one, part in zip(total, parts, strict=True)] if total else list(parts)
    return [plan.factor * one for one in total]
