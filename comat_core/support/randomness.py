"""Every random number of the project starts here.

A seed is derived from (the run's seed, a purpose, the item's identity), never from order, batch or worker, so that any
shard or step can be redone alone with the numbers it had, and a resumed run needs no saved generator state.
"""

import hashlib
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # seeds alone are wanted where torch is too slow to import
    import torch


def derive_seed(seed: int, purpose: str, *item_ids: str | int) -> int:
    """Derive the seed of one item, in [0, 2**63).

    Args:
        seed: the run's seed.
        purpose: what the numbers are for ("initial noise", "gradient steps"); two purposes never share a stream.
        item_ids: what identifies the item for that purpose (a prompt's id, a step's index).
    """
    parts = [str(seed), purpose, *(f"{type(item).__name__}:{item}" for item in item_ids)]
    digest = hashlib.sha256("\x1f".join(parts).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def make_generator(seed: int, purpose: str, *item_ids: str | int) -> "torch.Generator":
    """Make the generator of one item. It lives on the CPU so that its numbers are the same on every device."""
    import torch

    return torch.Generator("cpu").manual_seed(derive_seed(seed, purpose, *item_ids))


def normal_noise(
    row_shape: Sequence[int],
    generators: "Sequence[torch.Generator]",
    *,
    dtype: "torch.dtype | None" = None,
    device: "torch.device | str" = "cpu",
) -> "torch.Tensor":
    """Draw standard normal noise of shape (len(generators), *row_shape), each row from its own generator.

    Args:
        dtype: of the result; the numbers are drawn in float32, which is also the default.
    """
    import torch

    rows = [torch.randn(tuple(row_shape), generator=generator) for generator in generators]
    return torch.stack(rows).to(device=device, dtype=dtype or torch.float32)
