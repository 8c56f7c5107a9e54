"""Which of the denoising steps a training step begins with, and which of the rest keep a gradient."""

from collections.abc import Sequence

import torch

from comat_core.support.errors import UserError


def draw_start_step(steps: Sequence[int] | None, generator: torch.Generator) -> int:
    """Draw the step that denoising begins with, all alike; without a choice the first."""
    return 0 if steps is None else steps[int(torch.randint(len(steps), (), generator=generator))]


def gradient_steps_uniform(num_steps: int, count: int, generator: torch.Generator) -> tuple[int, ...]:
    """Draw `count` distinct steps uniformly, as the paper does.

    Args:
        num_steps: T, the steps of the denoising loop.
        count: K, in [0, T].

    Returns:
        Step indices in [0, T), ascending; index 0 is the noisiest step.
    """
    _check(num_steps, count)
    return tuple(sorted(torch.randperm(num_steps, generator=generator)[:count].tolist()))


def gradient_steps_strided(num_steps: int, count: int, generator: torch.Generator) -> tuple[int, ...]:
    """Draw one offset and take every (T // K)-th step from it, as the authors' release does.

    The offset is uniform over [0, T - (T // K) (K - 1) - 1], so that the last step taken is at most T - 1.
    Arguments and result as in `gradient_steps_uniform`.
    """
    _check(num_steps, count)
    if count == 0:
        return ()
    stride = num_steps // count
    offsets = num_steps - stride * (count - 1)
    first = int(torch.randint(offsets, (), generator=generator))
    return tuple(first + stride * index for index in range(count))


def _check(num_steps: int, count: int) -> None:
    if not 0 <= count <= num_steps:
        raise UserError(
            f"{count} gradient steps asked of {num_steps} denoising steps",
            "gradient steps",
            f"choose a number from 0 to {num_steps}",
        )
