"""The index of the real pairs: its columns, and how others read it."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from stages.store.artifacts import Artifact
from stages.store.streamed_tables import stream_rows

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


def stream_index(pairs: Artifact) -> Iterator[IndexRow]:
    """Every pair, in the order of the index, of which only a few are in memory at a time.

    Raises:
        DamagedArtifactError: a file is not the one that the stage wrote.
    """
    return stream_rows(pairs, INDEX, IndexRow)
