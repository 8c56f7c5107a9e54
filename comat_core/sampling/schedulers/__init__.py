"""Schedulers by name, each made from whatever scheduler a checkpoint ships with."""

from typing import Any

from comat_core.sampling.schedulers.betas import BETA_SCHEDULERS, BetaScheduler
from comat_core.sampling.schedulers.flow_matching import FLOW_SCHEDULERS, FlowScheduler, FlowWalk
from comat_core.sampling.schedulers.protocol import DenoisingRun, Scheduler
from comat_core.support.errors import UserError

__all__ = ["BetaScheduler", "DenoisingRun", "FlowScheduler", "FlowWalk", "Scheduler", "make_scheduler"]


def make_scheduler(own: Any, name: str, image_tokens: int = 0, walk: FlowWalk | None = None) -> Scheduler:
    """Make the named scheduler with the noise levels and prediction type of a checkpoint's own one.

    Args:
        own: the checkpoint's scheduler (`Backbone.scheduler`).
        name: one of the settings' scheduler names (`comat_core.settings.Sampler`).
        image_tokens: how many the network sees at the resolution at hand; some flow-matching models shift by it.
        walk: what the stock pipeline of a flow-matching model tells its scheduler.

    Raises:
        UserError: the name is unknown, or the checkpoint's noise levels are none that this scheduler can have.
    """
    if name in BETA_SCHEDULERS:
        return BetaScheduler.taking_over(own, name)
    if name in FLOW_SCHEDULERS:
        return FlowScheduler.taking_over(own, name, image_tokens, walk)
    known = ", ".join(sorted([*BETA_SCHEDULERS, *FLOW_SCHEDULERS]))
    raise UserError(f"unknown scheduler {name!r}", "scheduler", f"choose one of: {known}")
