"""What is trained on: prompts with their entities and reference latents, and pairs of real latents and captions.

Nothing of it is read before a step wants it: rows of tables come from a file that is searched by index, latents from
shards that are memory-mapped while a row is copied out of them. In memory is the order of an epoch, 8 bytes per prompt.
"""

import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache, partial
from pathlib import Path
from typing import Final

import torch

from comat_core.support.randomness import make_generator
from comat_core.training.training_inputs import CoMatBatch
from stages.latents.states import ReferenceStates
from stages.store.artifacts import Artifact
from stages.store.latent_shards import StoredLatents
from stages.store.local_disk import disk_errors_told
from stages.store.local_files import LocalFiles
from stages.train.data.indexed_tables import IndexedTables, write_indexed_tables

TABLES: Final = "tables.sqlite"


@contextmanager
def prepared(inputs: Mapping[str, Artifact], folder: Path) -> Iterator[None]:
    """While the block runs, a local folder holds what `TrainingData` reads beside the artifacts, for all processes.

    These are the tables, and copies of the shards that lie in a remote store, made when they are first wanted. What a
    run that was killed has left there goes first.

    Raises:
        UserError: there is no training prompt, or the disk is full.
        DamagedArtifactError: a table is not what its stage wrote.
    """
    shutil.rmtree(folder, ignore_errors=True)
    with disk_errors_told("training data", folder):
        folder.mkdir(parents=True)
    try:
        write_indexed_tables(inputs, folder / TABLES)
        yield
    finally:
        shutil.rmtree(folder, ignore_errors=True)


class TrainingData:
    """All prompts and pairs. Which of them a micro-batch holds is derived from its number, so nothing needs saving.

    Args:
        folder: what `prepared` has made of the same inputs.
        start_steps: where denoising may begin (`TrainingSampler`); 0 needs no state.

    Raises:
        UserError: a state to begin with was not kept.
    """

    def __init__(
        self, inputs: Mapping[str, Artifact], folder: Path, *, seed: int, start_steps: Sequence[int] | None = None
    ) -> None:
        self.seed = seed
        self._tables = IndexedTables(folder / TABLES)
        files, pair_files = (LocalFiles(inputs[role], folder / role) for role in ("latents", "pairs"))
        self._latents, self._pair_latents = StoredLatents(files), StoredLatents(pair_files)
        self._states = ReferenceStates(files, [step for step in start_steps or () if step])
        # Two, for a batch that ends one epoch and begins the next.
        self._order = lru_cache(maxsize=2)(partial(_draw_order, seed, "prompt order", self._tables.prompts))
        self._pair_order = lru_cache(maxsize=2)(partial(_draw_order, seed, "pair order", self._tables.pairs))

    def first_texts(self, count: int) -> list[str]:
        """The first training prompts, `count` of them at most."""
        return [self._tables.prompt(number).text for number in range(min(count, self._tables.prompts))]

    def batch(self, number: int, batch_size: int, pair_batch_size: int) -> CoMatBatch:
        """Make micro-batch number 0, 1, … of all processes together; each epoch runs through a new order."""
        prompts = [
            self._tables.prompt(int(self._order(epoch)[position]))
            for epoch, position in _positions(number, batch_size, self._tables.prompts)
        ]
        pairs = [
            self._tables.pair(int(self._pair_order(epoch)[position]))
            for epoch, position in _positions(number, pair_batch_size, self._tables.pairs)
        ]
        places = [prompt.place for prompt in prompts]
        return CoMatBatch(
            prompts=[prompt.text for prompt in prompts],
            trajectory_seeds=[prompt.trajectory_seed for prompt in prompts],
            entities=[prompt.entities for prompt in prompts],
            reference_latents=self._latents.read(places).float(),
            states=self._states.of(places),
            pair_ids=[pair.pair_id for pair in pairs],
            pair_captions=[pair.caption for pair in pairs],
            pair_latents=self._pair_latents.read([pair.place for pair in pairs]).float() if pairs else None,
        )

    def longest_captions(self, batch_size: int, pair_batch_size: int) -> list[str]:
        """Texts of the micro-batch that takes most memory, as far as their length says it."""
        return [*self._tables.longest_texts(batch_size), *self._tables.longest_captions(pair_batch_size)]


def _draw_order(seed: int, purpose: str, count: int, epoch: int) -> torch.Tensor:
    return torch.randperm(count, generator=make_generator(seed, purpose, epoch))


def _positions(number: int, size: int, total: int) -> list[tuple[int, int]]:
    """Epoch of each row of a micro-batch, and the row's place in that epoch's order."""
    return [divmod(position, total) for position in range(number * size, (number + 1) * size)]
