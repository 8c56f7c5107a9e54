"""The optimisers that training can use: AdamW, with its state in 32 or in 8 bits."""

import logging
from collections.abc import Iterable
from importlib.util import find_spec
from typing import Any, Literal

import torch
from torch import nn

from comat_core.errors import UserError

OptimizerKind = Literal["adamw", "adamw_8bit", "adamw_8bit_if_installed"]
PACKAGE = "bitsandbytes"

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
    installed = find_spec(PACKAGE) is not None
    if kind == "adamw_8bit" and not installed:
        advice = f"pip install {PACKAGE}, or write adamw"
        raise UserError(f"8-bit AdamW needs {PACKAGE}, which is not installed", "train.optimizer", advice)
    if kind == "adamw_8bit_if_installed":
        logger.info("train: AdamW's state takes %s", "8 bits" if installed else f"32 bits: {PACKAGE} is not installed")
    if kind == "adamw" or not installed:
        return torch.optim.AdamW(parameters, **settings)
    return _adamw_8bit(parameters, settings)


def _adamw_8bit(parameters: Iterable[nn.Parameter], settings: dict[str, Any]) -> torch.optim.Optimizer:
    import bitsandbytes  # pyright: ignore[reportMissingImports]

    class AdamW8bit(bitsandbytes.optim.AdamW8bit):
        """Goes on from a checkpoint in which the step's number is a tensor, as everything else in it."""

        def load_state_dict(self, state_dict: dict[str, Any], move_to_device: bool = True) -> None:
            super().load_state_dict(state_dict, move_to_device)
            for state in self.state.values():
                state["step"] = int(state["step"])

    return AdamW8bit(parameters, **settings)
