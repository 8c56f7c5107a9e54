"""Latents as a transformer's sequence, and where each of its positions stands in the image."""

import torch
from torch import Tensor
from torch.nn import functional

SIDE_OF_SQUARES = 2
"""Latents that are packed together, along a side."""


def as_sequence(latents: Tensor) -> Tensor:
    """Take (B, C, h, w) row by row: (B, h * w, C)."""
    return latents.flatten(2).transpose(1, 2)


def as_grid(sequence: Tensor, height: int, width: int) -> Tensor:
    """Undo `as_sequence`: (B, height * width, C) to (B, C, height, width)."""
    return sequence.transpose(1, 2).unflatten(2, (height, width))


def pack(latents: Tensor) -> Tensor:
    """Put squares of 2x2 latents into one position each.

    Args:
        latents: (B, C, h, w), with even sides.

    Returns:
        (B, h / 2 * w / 2, 4 C), row by row; of a position, the latents of one channel stand together.
    """
    return as_sequence(functional.pixel_unshuffle(latents, SIDE_OF_SQUARES))


def unpack(sequence: Tensor, height: int, width: int) -> Tensor:
    """Undo `pack`.

    Args:
        sequence: (B, height / 2 * width / 2, 4 C).
        height, width: of the latents.

    Returns:
        (B, C, height, width).
    """
    squares = as_grid(sequence, height // SIDE_OF_SQUARES, width // SIDE_OF_SQUARES)
    return functional.pixel_shuffle(squares, SIDE_OF_SQUARES)


def image_positions(height: int, width: int, device: torch.device) -> Tensor:
    """Row and column of each position of a sequence, row by row: (height * width, 2), float32."""
    rows, columns = torch.arange(height, device=device), torch.arange(width, device=device)
    return torch.cartesian_prod(rows, columns).float()
