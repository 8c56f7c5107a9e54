"""How many bytes of tensors are alive at once while something is computed, on any device."""

import weakref
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from comat_core.support.memory.stored_bytes import stored_parts


class LiveBytes(TorchDispatchMode):
    """A context that counts the tensors made within it, as long as each lives.

    What was there before, as a model's weights, is not counted, nor is what an operation needs for itself alone. Only
    this thread's operations are seen.
    """

    def __init__(self) -> None:
        super().__init__()
        self.peak: Counter[torch.device] = Counter()
        """Device -> the most bytes that were alive there at once."""
        self._now: Counter[torch.device] = Counter()
        self._met: dict[int, weakref.ref[torch.UntypedStorage]] = {}

    def __torch_dispatch__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        given = kwargs or {}
        self._meet((args, given), new=False)
        result = func(*args, **given)
        self._meet(result, new=True)
        return result

    def _meet(self, values: Any, *, new: bool) -> None:
        tensors = (value for value in tree_leaves(values) if isinstance(value, Tensor))
        for storage in (part.untyped_storage() for tensor in tensors for part in stored_parts(tensor)):
            identity, size = id(storage), storage.nbytes() if new else 0
            if identity not in self._met:
                self._met[identity] = weakref.ref(storage, self._forgetting(identity, storage.device, size))
                self._now[storage.device] += size
                self.peak[storage.device] = max(self.peak[storage.device], self._now[storage.device])

    def _forgetting(self, identity: int, device: torch.device, size: int) -> Callable[[Any], None]:
        def forget(_reference: Any) -> None:
            del self._met[identity]
            self._now[device] -= size

        return forget
