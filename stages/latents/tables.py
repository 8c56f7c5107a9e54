"""The index of the reference latents: its columns, and how others read it with the latents that it names."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import pyarrow as pa

from stages.store.artifacts import Artifact
from stages.store.latent_shards import read_shards
from stages.store.typed_tables import read_rows

if TYPE_CHECKING:
    from torch import Tensor

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


@dataclass(frozen=True)
class ReferenceLatents:
    """What the reference model made of a prompt: latents (C, h, w), on the trajectory of that seed."""

    prompt_id: str
    trajectory_seed: int
    latents: "Tensor"


def read_reference_latents(latents: Artifact) -> list[ReferenceLatents]:
    """Every training prompt's latents, in the order of the index.

    Raises:
        DamagedArtifactError: a file is not the one that the stage wrote.
    """
    shards = read_shards(latents)
    rows = read_rows(latents, INDEX, IndexRow)
    return [ReferenceLatents(row.prompt_id, row.trajectory_seed, shards[row.shard][row.row]) for row in rows]
