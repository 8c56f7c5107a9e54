"""The index of the real pairs: its columns, and how others read it with the latents that it names."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from stages.store.artifacts import Artifact
from stages.store.latent_shards import read_shards
from stages.store.typed_tables import read_rows

if TYPE_CHECKING:
    from torch import Tensor

INDEX: Final = "index.parquet"
INDEX_OF_SHARDS: Final = "index/"
"""What the index is joined from: a file of each shard."""


@dataclass(frozen=True)
class IndexRow:
    """A caption, and where its image's latents lie: in which file, as which of its rows."""

    pair_id: str
    caption: str
    shard: str
    row: int


@dataclass(frozen=True)
class Pair:
    """One real image, as latents of shape (C, h, w), with its caption."""

    pair_id: str
    caption: str
    latents: "Tensor"


def read_pairs(pairs: Artifact) -> list[Pair]:
    """Every pair, in the order of the index.

    Raises:
        DamagedArtifactError: a file is not the one that the stage wrote.
    """
    shards = read_shards(pairs)
    return [Pair(row.pair_id, row.caption, shards[row.shard][row.row]) for row in read_rows(pairs, INDEX, IndexRow)]
