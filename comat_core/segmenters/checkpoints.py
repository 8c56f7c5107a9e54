"""Read the .pth files in which GroundingDINO and SAM are published, without running what a pickle may hold."""

import pickle
from collections.abc import Collection, Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from comat_core.support.errors import UserError, first_line


def read_checkpoint(path: str | Path) -> dict:
    """Read a file that torch.save wrote, tensors and plain containers only.

    Raises:
        UserError: the file is absent, damaged, or holds other objects.
    """
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, EOFError, RuntimeError, pickle.UnpicklingError) as error:
        raise UserError(
            f"cannot read the checkpoint: {first_line(error)}", str(path), "download the published file again"
        ) from error
    if not isinstance(content, dict):
        raise UserError("the file holds no state dict", str(path), "use the published checkpoint")
    return content


def put_weights(
    module: nn.Module, weights: Mapping[str, Tensor], path: str | Path, ignored: Collection[str] = ()
) -> None:
    """Load all weights of a module, and complain about any that are missing, unknown or of another shape.

    Args:
        weights: name -> tensor.
        path: what an error message calls the checkpoint.
        ignored: names in the file for which the module has no use.

    Raises:
        UserError: the checkpoint is of another model.
    """
    used = {name: tensor for name, tensor in weights.items() if name not in ignored}
    try:
        module.load_state_dict(used)
    except RuntimeError as error:
        first = str(error).strip().splitlines()[1].strip()[:200]
        raise UserError(
            f"the checkpoint does not fit the model: {first}", str(path), "choose the model type that it was saved from"
        ) from error
