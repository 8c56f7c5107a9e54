"""Where a stage's models run."""

from typing import TYPE_CHECKING

from comat_core.support.errors import UserError, first_line

if TYPE_CHECKING:
    import torch

AUTO = "auto"


def choose_device(setting: str) -> "torch.device":
    """The device that a setting means: "auto" is a GPU when there is one.

    Raises:
        UserError: torch does not know the device, or this machine does not have it.
    """
    import torch

    from comat_core.support.memory.memory_allocator import keep_freed_memory

    if setting == AUTO:
        setting = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(setting)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise UserError(
            f"device {setting!r} cannot be used: {first_line(error)}", "device", "write auto or cpu"
        ) from error
    if device.type == "cpu":
        keep_freed_memory()
    if device.type == "cuda":
        torch.set_float32_matmul_precision("high")  # TF32 in matrix products; convolutions use it anyway
    return device
