"""Latents as a transformer's sequence, and where each of its positions stands in the image."""

import torch
from torch import Tensor


def pack(latents: Tensor) -> Tensor:
    """Put squares of 2x2 latents into one position each.

    Args:
        latents: (B, C, h, w), with even sides.

    Returns:
        (B, h / 2 * w / 2, 4 C), row by row; of a position, the latents of one channel stand together.
    """
    squares = latents.unflatten(3, (-1, 2)).unflatten(2, (-1, 2))
    return squares.permute(0, 2, 4, 1, 3, 5).flatten(3).flatten(1, 2)


def unpack(sequence: Tensor, height: int, width: int) -> Tensor:
    """Undo `pack`.

    Args:
        sequence: (B, height / 2 * width / 2, 4 C).
        height, width: of the latents.

    Returns:
        (B, C, height, width).
    """
    squares = sequence.unflatten(2, (-1, 2, 2)).unflatten(1, (height // 2, width // 2))
    return squares.permute(0, 3, 1, 4, 2, 5).flatten(4).flatten(2, 3)


def image_positions(height: int, width: int, device: torch.device) -> Tensor:
    """Row and column of each position of a sequence, row by row: (height * width, 2), float32."""
    rows, columns = torch.arange(height, device=device), torch.arange(width, device=device)
    return torch.cartesian_prod(rows, columns).float()
