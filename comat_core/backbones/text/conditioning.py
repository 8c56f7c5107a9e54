"""What a denoiser is told about each image: encoded prompts, whose contents only their backbone knows."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Conditioning:
    """A batch of B encoded prompts: named tensors, each with its rows in the same order.

    What the names are is the business of the backbone that made it; everybody else takes rows and puts rows together.
    """

    tensors: Mapping[str, Tensor]
    """Name -> (B, ...)."""

    def __len__(self) -> int:
        return len(next(iter(self.tensors.values())))

    def __getitem__(self, name: str) -> Tensor:
        return self.tensors[name]

    def select(self, rows: Sequence[int] | slice) -> "Conditioning":
        """Take the given rows, in the given order; a row may be taken more than once."""
        chosen = rows if isinstance(rows, slice) else list(rows)
        return self._map(lambda tensor: tensor[chosen])

    def repeat(self, count: int) -> "Conditioning":
        """Repeat every row `count` times, copies of one row standing together."""
        return self._map(lambda tensor: tensor.repeat_interleave(count, dim=0))

    def replaced_by(self, row: "Conditioning", where: Sequence[bool]) -> "Conditioning":
        """Put one row, the only one of another batch of the same backbone, in all the places where `where` is true."""
        assert len(row) == 1 and len(where) == len(self)
        joined = Conditioning.concatenate([self, row])
        return joined.select([len(self) if replaced else index for index, replaced in enumerate(where)])

    def to(self, device: torch.device | str | None = None, dtype: torch.dtype | None = None) -> "Conditioning":
        """Move every tensor, and cast those of floating point."""
        return self._map(lambda tensor: tensor.to(device=device, dtype=dtype if tensor.is_floating_point() else None))

    @staticmethod
    def concatenate(batches: Sequence["Conditioning"]) -> "Conditioning":
        """Join batches of the same backbone, one after the other."""
        assert batches, "nothing to concatenate"
        names = {frozenset(batch.tensors) for batch in batches}
        assert len(names) == 1, f"batches of different backbones: {sorted(map(sorted, names))}"
        return Conditioning({name: torch.cat([batch[name] for batch in batches]) for name in batches[0].tensors})

    def _map(self, change: Callable[[Tensor], Tensor]) -> "Conditioning":
        return Conditioning({name: change(tensor) for name, tensor in self.tensors.items()})
