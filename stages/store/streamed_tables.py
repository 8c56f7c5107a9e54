"""Parquet files that are written and read a row group at a time, for tables longer than memory likes."""

from collections.abc import Iterable, Iterator
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from stages.store.artifacts import Artifact, ArtifactWriter
from stages.store.local_disk import disk_errors_told

Rows = list[dict[str, Any]]


def write_streamed_table(writer: ArtifactWriter, name: str, schema: pa.Schema, row_groups: Iterable[pa.Table]) -> None:
    """Write row groups as they come; in memory are one of them and, at the end, the compressed file."""
    path = writer.working_folder() / name
    with disk_errors_told("table", path), pq.ParquetWriter(path, schema, compression="zstd") as file:
        for row_group in row_groups:
            file.write_table(row_group)
    writer.write_bytes(name, path.read_bytes())
    path.unlink()


def count_rows(artifact: Artifact, name: str) -> int:
    """How many rows a table has, without reading them."""
    with artifact.local_path(name) as path:
        return pq.read_metadata(path).num_rows


def read_streamed_table(artifact: Artifact, name: str, columns: list[str]) -> Iterator[Rows]:
    """Yield the rows of a table's columns, one row group's worth at a time."""
    with artifact.local_path(name) as path, pq.ParquetFile(path) as file:
        for batch in file.iter_batches(batch_size=8192, columns=columns):
            yield batch.to_pylist()
