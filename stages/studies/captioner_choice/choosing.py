"""The rule by which a captioner is chosen.

What a captioner cannot tell it cannot teach. So each is judged by the respect (attributes, relations, quantities, given
wrong captions) in which it is least certain that the right text is the likelier one: by the lowest of the lower ends of
its 95 % intervals. The captioner whose lowest is highest is the one to train with. The share of right texts preferred
decides and not the sensitivity itself, whose size depends on how a captioner's likelihoods are scaled.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from comat_core.metrics.bootstrap import Difference, bootstrap_difference, make_numpy_generator
from stages.studies.captioner_choice.measuring import Measured

CHANCE: Final = 0.5


@dataclass(frozen=True)
class Choice:
    """The captioner to train with, and how far that can be relied on."""

    best: Measured
    blind_to: tuple[str, ...]
    """Respects in which the best is not above chance."""
    runner_up: Measured | None
    ahead: Difference | None
    """By how much the best prefers right texts more often, on the same images, where the runner-up is weakest."""

    @property
    def is_certain(self) -> bool:
        """Whether the runner-up is told apart from the best."""
        return self.ahead is None or self.ahead.low > 0

    def as_json(self) -> dict[str, Any]:
        """What is printed of it, by name."""
        return {
            "train_with": self.best.candidate.name,
            "blind_to": list(self.blind_to),
            "runner_up": self.runner_up.candidate.name if self.runner_up else None,
            "ahead": self.ahead.as_dict() if self.ahead else None,
        }


def choose(measured: Sequence[Measured], seed: int) -> Choice:
    """Apply the rule; of equals the first is chosen.

    Args:
        measured: one at least, on the same images.
        seed: of the bootstrap of the difference.
    """
    best, *others = sorted(measured, key=lambda one: one.weakest.preference.low, reverse=True)
    blind = tuple(name for name, respect in best.respects.items() if respect.preference.low <= CHANCE)
    if not others:
        return Choice(best, blind, None, None)
    name = others[0].weakest.name
    ours, theirs = best.respects[name].prefers, others[0].respects[name].prefers
    images = list(ours)
    ahead = bootstrap_difference(
        [float(theirs[image]) for image in images],
        [float(ours[image]) for image in images],
        images,
        make_numpy_generator(seed, "the choice of a captioner"),
    )
    return Choice(best, blind, others[0], ahead)
