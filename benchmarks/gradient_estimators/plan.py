"""What an estimator chooses: through which calls of the denoiser the gradient of the result goes."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class GradientPlan:
    """Which denoising steps keep a gradient, which of them are nested in each other, and how much their sum weighs."""

    steps: tuple[int, ...]
    """Indices in [0, T), ascending, 0 the noisiest: the predictions that receive a gradient."""
    nested: Mapping[tuple[int, int], float] = field(default_factory=dict)
    """(earlier, later) -> share, of 1, of the gradient at the input of the later call that goes on to the earlier
    prediction. Empty: every input is detached, and the gradient takes the scheduler's linear path alone."""
    factor: float = 1.0
    """Of the gradient, for the steps that were left out."""

    @property
    def through_input(self) -> frozenset[int]:
        """The steps at whose input a gradient is asked for."""
        return frozenset(later for _, later in self.nested)


def chained(steps: tuple[int, ...], factor: float = 1.0) -> GradientPlan:
    """Nothing detached between the chosen steps."""
    nested = {(earlier, later): 1.0 for later in steps for earlier in steps if earlier < later}
    return GradientPlan(steps, nested, factor)
