"""Numbers that are none: refuse what a broken or overflowing model makes before it counts as a result."""

from collections.abc import Mapping

import torch
from torch import Tensor

from comat_core.support.errors import UserError

_ADVICE = "check the model's weights; if they are whole, fp16 overflows: choose bf16 or fp32"


def check_finite(values: Tensor, what: str, where: str) -> None:
    """Make sure that a model's output holds neither NaN nor infinity.

    Args:
        what: the values are, in the plural.
        where: the model, for the reader.

    Raises:
        UserError: it does.
    """
    if not bool(torch.isfinite(values).all()):
        raise UserError(f"{what} are not finite numbers", where, _ADVICE)


def check_finite_weights(weights: Mapping[str, Tensor], of_what: str, where: str, advice: str = _ADVICE) -> None:
    """Make sure that all weights of a network are finite numbers.

    Args:
        weights: name -> tensor.
        of_what: whose weights they are.
        where: the model, for the reader.
        advice: what to do about it.

    Raises:
        UserError: some are not; the first of them is named.
    """
    for name, values in weights.items():
        if values.is_floating_point() and not bool(torch.isfinite(values).all()):
            raise UserError(f"weights of {of_what} are not finite numbers, among them {name}", where, advice)
