"""Test images with what photographs have: slow shading, edges, fine texture."""

import torch
from torch import Tensor

from comat_core.support.randomness import make_generator


def natural_picture(height: int, width: int, seed: int = 0) -> Tensor:
    """Draw a (3, height, width) image of whole 8-bit levels in [0.1, 0.9]: shading, a disc, a bar and grain."""
    rows = torch.linspace(0, 1, height).view(-1, 1)
    columns = torch.linspace(0, 1, width).view(1, -1)
    disc = ((rows - 0.4) ** 2 + (columns - 0.6) ** 2 < 0.05).float()
    bar = ((columns > 0.1) & (columns < 0.2)).float().expand(height, width)
    shading = torch.stack([rows + 0 * columns, columns + 0 * rows, torch.sin(7 * rows * columns).abs()])
    grain = torch.rand(3, height, width, generator=make_generator(seed, "grain"))
    tint = torch.tensor([0.9, 0.2, 0.4]).view(3, 1, 1)
    picture = 0.55 * shading + 0.25 * disc * tint + 0.15 * bar + 0.15 * grain
    return (picture.clamp(0.1, 0.9) * 255).round() / 255


def natural_pictures(count: int, height: int, width: int) -> Tensor:
    """Stack `count` different pictures into (count, 3, height, width)."""
    return torch.stack([natural_picture(height, width, seed) for seed in range(count)])


def as_bytes(images: Tensor) -> list[Tensor]:
    """Turn (B, 3, H, W) images in [0, 1] into a list of 8-bit images, as processors of transformers expect them."""
    return list((images * 255).round().to(torch.uint8))
