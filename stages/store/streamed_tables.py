"""Parquet files that are written and read a row group at a time, for tables longer than memory likes."""

from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from stages.store.artifact_writer import ArtifactWriter
from stages.store.artifacts import Artifact, DamagedArtifactError
from stages.store.local_disk import disk_errors_told
from stages.store.typed_tables import RowT, check_columns, column_names

ROWS_AT_A_TIME = 8192
BUFFER_BYTES = 2**20


def write_streamed_table(writer: ArtifactWriter, name: str, schema: pa.Schema, row_groups: Iterable[pa.Table]) -> None:
    """Write row groups as they come; in memory are one of them and, at the end, the compressed file."""
    path = writer.working_folder() / name
    with disk_errors_told("table", path), pq.ParquetWriter(path, schema, compression="zstd") as file:
        for row_group in row_groups:
            file.write_table(row_group)
    writer.write_bytes(name, path.read_bytes())
    path.unlink()


def count_rows(artifact: Artifact, name: str) -> int:
    """How many rows a table has, without reading them.

    Raises:
        DamagedArtifactError: the artifact lacks the table, or it is not what the stage wrote.
    """
    with _opened(artifact, name) as file:
        return file.metadata.num_rows


def stream_rows(
    artifact: Artifact, name: str, kind: type[RowT], only: Mapping[str, Collection[Any]] | None = None
) -> Iterator[RowT]:
    """Yield a table's rows, of each the columns that `kind` has fields for.

    Args:
        only: column -> the values that it may have; other rows are left out.

    Raises:
        DamagedArtifactError: the artifact lacks the table or the table a column, or it is not what the stage wrote.
    """
    columns, conditions = column_names(kind), only or {}
    read = list(dict.fromkeys([*columns, *conditions]))
    with _opened(artifact, name) as file:
        check_columns(artifact, name, file.schema_arrow, read)
        allowed = {
            column: pa.array(list(values), file.schema_arrow.field(column).type)
            for column, values in conditions.items()
        }
        for batch in file.iter_batches(batch_size=ROWS_AT_A_TIME, columns=read):
            rows = pa.Table.from_batches([batch])
            for column, values in allowed.items():
                rows = rows.filter(pc.field(column).isin(values))
            yield from (kind(**row) for row in rows.select(columns).to_pylist())


@contextmanager
def _opened(artifact: Artifact, name: str) -> Iterator[pq.ParquetFile]:
    where = f"{artifact.url}/{name}"
    if name not in artifact.manifest.files:
        raise DamagedArtifactError(artifact.stage, where, "the artifact has no such table")
    with artifact.local_path(name) as path:
        try:
            # Read through a buffer: otherwise a row group's columns would be in memory as a whole.
            with pq.ParquetFile(path, buffer_size=BUFFER_BYTES) as file:
                yield file
        except (pa.ArrowException, OSError, ValueError) as error:
            raise DamagedArtifactError(artifact.stage, where, "the table cannot be read") from error
