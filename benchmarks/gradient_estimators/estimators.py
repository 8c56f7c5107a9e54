"""Estimators of the gradient of a denoising walk's result, one function each, all of one signature.

    estimator(reach, count, generator) -> GradientPlan

reach: (T,), |d z_0 / d prediction| of every step along the scheduler's linear path, noisiest first
    (`benchmarks.gradient_estimators.path_coefficients`); for flow matching |d sigma|.
count: K, in [0, T], how many steps an estimator of a fixed size takes.
generator: of the draw.

How far each is from the exact gradient, and what it costs: `python -m benchmarks.gradients`, docs/gradients.md.
"""

from collections.abc import Callable
from typing import Final

import torch
from torch import Tensor

from benchmarks.gradient_estimators.plan import GradientPlan, chained
from comat_core.training.gradient_steps import gradient_steps_strided, gradient_steps_uniform

Estimator = Callable[[Tensor, int, torch.Generator], GradientPlan]

LATE_BIAS: Final = 1.0
"""b: a step i is drawn with weight (i + 1)^b."""
RESCALING: Final = 1.0
"""r: how much of what the steps left out would have added is made up for; 0 is none."""
BRIDGE_SHARE: Final = 0.1
"""alpha: of the nested path."""


def drtune(reach: Tensor, count: int, generator: torch.Generator) -> GradientPlan:
    """DRTune (Wu et al. 2024, arXiv 2405.00760): K steps drawn uniformly, every input detached."""
    return GradientPlan(gradient_steps_uniform(len(reach), count, generator))


def drtune_strided(reach: Tensor, count: int, generator: torch.Generator) -> GradientPlan:
    """The same with equally distant steps, as CoMat's release draws them."""
    return GradientPlan(gradient_steps_strided(len(reach), count, generator))


def chosen_chain(reach: Tensor, count: int, generator: torch.Generator) -> GradientPlan:
    """K steps drawn uniformly, no input detached: the other steps alone are left out."""
    return chained(gradient_steps_uniform(len(reach), count, generator))


def sparse(reach: Tensor, count: int, generator: torch.Generator) -> GradientPlan:
    """FlowBP-Sparse (arXiv 2606.11075): K late-biased steps, rescaled by k = 1 + r (sum of all / of the active - 1)."""
    weights = torch.arange(1, len(reach) + 1, dtype=torch.float64) ** LATE_BIAS
    drawn = torch.multinomial(weights, count, generator=generator).tolist() if count else []
    active = float(reach[drawn].abs().sum())
    factor = 1 + RESCALING * (float(reach.abs().sum()) / active - 1) if active else 1.0
    return GradientPlan(tuple(sorted(drawn)), factor=factor)


def bridge(reach: Tensor, count: int, generator: torch.Generator) -> GradientPlan:
    """FlowBP-Bridge (ibid.): sparse, plus one nested path between two neighbouring active steps, weighed by alpha."""
    plan = sparse(reach, count, generator)
    if len(plan.steps) < 2:
        return plan
    first = int(torch.randint(len(plan.steps) - 1, (), generator=generator))
    return GradientPlan(plan.steps, {(plan.steps[first], plan.steps[first + 1]): BRIDGE_SHARE}, plan.factor)


def last_chain(reach: Tensor, count: int, generator: torch.Generator) -> GradientPlan:
    """AlignProp (Prabhudesai et al. 2023, arXiv 2310.03739): a random number of last steps, chained; K is not asked."""
    del count
    length = int(torch.randint(1, len(reach) + 1, (), generator=generator))
    return chained(tuple(range(len(reach) - length, len(reach))))


def full_chain(reach: Tensor, count: int, generator: torch.Generator) -> GradientPlan:
    """The exact gradient: every step, chained; neither K nor chance is asked."""
    del count, generator
    return chained(tuple(range(len(reach))))


ESTIMATORS: Final[dict[str, Estimator]] = {
    "drtune": drtune,
    "drtune-strided": drtune_strided,
    "chosen-chain": chosen_chain,
    "sparse": sparse,
    "bridge": bridge,
    "last-chain": last_chain,
    "full-chain": full_chain,
}
