"""What a brake has found so far: the part of it that a checkpoint keeps, and what the settings conclude from it."""

import logging

from pydantic import BaseModel

from comat_core.training.brake import Evaluation, Measurement, best_of, evaluations_since_best, is_within, steered
from stages.train.brake.settings import GAIN, BrakeSettings

logger = logging.getLogger("comat")

PREFIX = "brake"
AVERAGED_PREFIX = "brake_average"


class BrakeRecord(BaseModel):
    """All evaluations of a training so far."""

    base: Measurement | None = None
    """None until the base model was judged."""
    evaluations: list[Evaluation] = []
    fidelity_weight: float
    """lambda as it stands."""

    def is_due(self, step: int, last: int, settings: BrakeSettings) -> bool:
        """Whether the weights after a step are to be judged."""
        return step % settings.every == 0 or step == last

    def is_over(self, settings: BrakeSettings) -> bool:
        """Whether training ends because nothing has improved for long enough."""
        patience = settings.patience
        return patience is not None and evaluations_since_best(self.evaluations, settings.budget) >= patience

    def best(self, settings: BrakeSettings) -> Evaluation | None:
        """What would be delivered now."""
        return best_of(self.evaluations, settings.budget)

    def steer(self, evaluation: Evaluation, settings: BrakeSettings, begun_with: float) -> None:
        """Let lambda answer to an evaluation.

        Args:
            begun_with: lambda as the settings have it.
        """
        steering = settings.steering
        if steering is None:
            return
        self.fidelity_weight = steered(
            self.fidelity_weight,
            evaluation.ratio,
            budget=settings.budget,
            gain=steering.gain,
            lowest=begun_with / steering.reach,
            highest=begun_with * steering.reach,
        )


def metrics_of(evaluation: Evaluation, base: Measurement) -> dict[str, float]:
    """The numbers of an evaluation as a training logs them."""
    prefix = AVERAGED_PREFIX if evaluation.averaged else PREFIX
    ratios = {
        f"{name}_ratio": distance / base.distances[name]
        for name, distance in evaluation.distances.items()
        if base.distances[name]
    }
    named = {**evaluation.scores, **evaluation.distances, **ratios, GAIN: evaluation.gain}
    return {f"{prefix}/{name}": value for name, value in named.items()}


class Outcome(BaseModel):
    """How a training under a brake ended."""

    planned_steps: int
    stopped_at: int
    delivered_step: int
    delivered_average: bool
    gain: float | None
    """None where there is no finite one."""
    ratio: float | None
    remark: str | None
    """What whoever uses the result should know."""

    def tell(self) -> None:
        """Say it in the log, loudly if there is something to be said of it."""
        logger.info("train: %s", self)
        if self.remark is not None:
            logger.warning("train: %s", self.remark)

    def __str__(self) -> str:
        ended = f"stopped at step {self.stopped_at} of {self.planned_steps}"
        if self.stopped_at == self.planned_steps:
            ended = f"ended at its last step, {self.planned_steps}"
        which = "the averaged weights of step" if self.delivered_average else "step"
        return f"{ended}, delivered {which} {self.delivered_step}"


def outcome_of(record: BrakeRecord, settings: BrakeSettings, *, steps: int, stopped_at: int) -> Outcome:
    """What is delivered after the last evaluation, and whether it is less than one hopes for."""
    best = record.best(settings)
    assert best is not None, "the last step is evaluated"
    return Outcome(
        planned_steps=steps,
        stopped_at=stopped_at,
        delivered_step=best.step,
        delivered_average=best.averaged,
        gain=best.gain if best.is_finite else None,
        ratio=best.ratio if best.is_finite else None,
        remark=_remark(best, settings),
    )


def _remark(best: Evaluation, settings: BrakeSettings) -> str | None:
    if not best.is_finite:
        return "no evaluated weights draw finite images: this LoRA is of no use"
    if not is_within(best, settings.budget):
        return (
            f"no evaluated weights keep to the fidelity budget of {settings.budget:g}; "
            f"those with the smallest ratio, {best.ratio:.3f}, are delivered"
        )
    if best.gain <= 0:
        return f"the judges rate no weights within the budget higher than the base model (gain {best.gain:.3f})"
    return None
