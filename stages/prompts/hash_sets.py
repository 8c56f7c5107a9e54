"""A set of 64-bit hashes in eight bytes each, for as many prompts as a disk holds."""

from collections.abc import Sequence

import numpy as np

MOST_RUNS = 8


class SeenHashes:
    """Remembers hashes in sorted runs, which are merged when there are many."""

    def __init__(self) -> None:
        self._runs: list[np.ndarray] = []

    def add(self, hashes: Sequence[int]) -> np.ndarray:
        """Add a batch; returns a boolean array, True where the hash was new, in the batch too."""
        batch = np.asarray(hashes, dtype=np.uint64)
        values, first_places = np.unique(batch, return_index=True)
        unseen = ~self._contains(values)
        new = np.zeros(len(batch), dtype=bool)
        new[first_places[unseen]] = True
        self._runs.append(values[unseen])
        if len(self._runs) > MOST_RUNS:
            self._runs = [np.sort(np.concatenate(self._runs))]
        return new

    def _contains(self, values: np.ndarray) -> np.ndarray:
        found = np.zeros(len(values), dtype=bool)
        for run in self._runs:
            if len(run):
                places = np.minimum(np.searchsorted(run, values), len(run) - 1)
                found |= run[places] == values
        return found
