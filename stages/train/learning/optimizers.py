"""The optimisers that training can use: AdamW, with its state in 32 or in 8 bits."""

import logging
import math
from collections.abc import Iterable
from importlib.util import find_spec
from typing import Any, Literal

import torch
from torch import Tensor, nn

from comat_core.support.errors import UserError

OptimizerKind = Literal["adamw", "adamw_8bit", "adamw_8bit_if_installed"]
PACKAGE = "bitsandbytes"
SMALLEST_IN_8_BITS = 4096
"""Elements: bitsandbytes' own default."""

logger = logging.getLogger("comat")


def make_optimizer(
    kind: OptimizerKind,
    parameters: Iterable[nn.Parameter],
    *,
    learning_rate: float,
    betas: tuple[float, float],
    weight_decay: float,
) -> torch.optim.Optimizer:
    """Make the optimiser; `adamw_8bit_if_installed` says which of the two it has become.

    Raises:
        UserError: 8 bits are demanded, and bitsandbytes is not installed.
    """
    settings: dict[str, Any] = {"lr": learning_rate, "betas": betas, "weight_decay": weight_decay}
    in_8_bits = keeps_8_bits(kind)
    check_installed(kind)
    if kind == "adamw_8bit_if_installed":
        logger.info("train: AdamW's state takes %s", "8 bits" if in_8_bits else f"32 bits: {PACKAGE} is not installed")
    return _adamw_8bit(parameters, settings) if in_8_bits else torch.optim.AdamW(parameters, **settings)


def check_installed(kind: OptimizerKind) -> None:
    """Make sure that there is what keeps 8 bits, if they are demanded.

    Raises:
        UserError: there is not.
    """
    if kind == "adamw_8bit" and not keeps_8_bits(kind):
        advice = f"pip install {PACKAGE}, or write adamw"
        raise UserError(f"8-bit AdamW needs {PACKAGE}, which is not installed", "train.optimizer", advice)


def keeps_8_bits(kind: OptimizerKind) -> bool:
    """Whether the optimiser of that kind keeps its state in 8 bits here: bitsandbytes may not be installed."""
    return kind != "adamw" and find_spec(PACKAGE) is not None


def state_bytes(kind: OptimizerKind, parameters: Iterable[Tensor]) -> int:
    """Bytes of AdamW's two moments. bitsandbytes keeps those of small tensors in 32 bits."""
    smallest = SMALLEST_IN_8_BITS if keeps_8_bits(kind) else math.inf
    return sum(2 * value.numel() * (1 if value.numel() >= smallest else 4) for value in parameters)


def _adamw_8bit(parameters: Iterable[nn.Parameter], settings: dict[str, Any]) -> torch.optim.Optimizer:
    import bitsandbytes  # pyright: ignore[reportMissingImports]

    class AdamW8bit(bitsandbytes.optim.AdamW8bit):
        """Goes on from a checkpoint in which the step's number is a tensor, as everything else in it."""

        def load_state_dict(self, state_dict: dict[str, Any], move_to_device: bool = True) -> None:
            super().load_state_dict(state_dict, move_to_device)
            for state in self.state.values():
                state["step"] = int(state["step"])

    return AdamW8bit(parameters, **settings)
