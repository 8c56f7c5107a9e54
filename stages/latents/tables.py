"""The index of the reference latents: its columns, and how others read it."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import pyarrow as pa

from stages.store.artifacts import Artifact
from stages.store.streamed_tables import stream_rows

INDEX: Final = "index.parquet"
INDEX_SCHEMA: Final = pa.schema(
    [("prompt_id", pa.string()), ("trajectory_seed", pa.int64()), ("shard", pa.string()), ("row", pa.int32())]
)


@dataclass(frozen=True)
class IndexRow:
    """Where a prompt's latents lie: in which file, as which of its rows."""

    prompt_id: str
    trajectory_seed: int
    shard: str
    row: int


def stream_index(latents: Artifact) -> Iterator[IndexRow]:
    """Every training prompt, in the order of the index, of which only a few are in memory at a time.

    Raises:
        DamagedArtifactError: a file is not the one that the stage wrote.
    """
    return stream_rows(latents, INDEX, IndexRow)
