"""Parquet files that are written and read a row group at a time, for tables longer than memory likes."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import islice
from typing import Any, TypeVar

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from stages.store.artifact_writer import ArtifactWriter
from stages.store.artifacts import Artifact, DamagedArtifactError
from stages.store.local_disk import disk_errors_told
from stages.store.typed_tables import RowT, check_columns, column_names

ROWS_AT_A_TIME = 8192
BUFFER_BYTES = 2**20

Item = TypeVar("Item")

Conditions = Mapping[str, Collection[Any]]
"""Column -> the values that it may have; other rows are left out."""


def in_batches(items: Iterable[Item], size: int) -> Iterator[list[Item]]:
    """Split a stream into lists of `size` items, the last one shorter."""
    iterator = iter(items)
    while batch := list(islice(iterator, size)):
        yield batch


def write_streamed_table(writer: ArtifactWriter, name: str, schema: pa.Schema, row_groups: Iterable[pa.Table]) -> None:
    """Write row groups as they come; in memory are one of them and, at the end, the compressed file."""
    path = writer.working_folder() / name
    with disk_errors_told("table", path), pq.ParquetWriter(path, schema, compression="zstd") as file:
        for row_group in row_groups:
            file.write_table(row_group)
    writer.write_bytes(name, path.read_bytes())
    path.unlink()


def count_rows(artifact: Artifact, name: str, only: Conditions | None = None) -> int:
    """How many rows a table has, without reading more of them than the columns that conditions are about.

    Raises:
        DamagedArtifactError: as `stream_rows`.
    """
    with _opened(artifact, name) as file:
        check_columns(artifact, name, file.schema_arrow, list(only or {}))
        return sum(_count_in_group(file, group, only or {}) for group in range(file.num_row_groups))


def stream_rows(artifact: Artifact, name: str, kind: type[RowT], only: Conditions | None = None) -> Iterator[RowT]:
    """Yield a table's rows, of each the columns that `kind` has fields for.

    Raises:
        DamagedArtifactError: the artifact lacks the table or the table a column, or it is not what the stage wrote.
    """
    columns = column_names(kind)
    with _opened(artifact, name) as file:
        check_columns(artifact, name, file.schema_arrow, [*columns, *(only or {})])
        yield from _rows(file, kind, only or {}, range(file.num_row_groups))


def stream_part(
    artifact: Artifact, name: str, kind: type[RowT], part: range, only: Conditions | None = None
) -> Iterator[RowT]:
    """Yield those of the rows of `stream_rows` whose numbers lie in a range, from the row groups that hold them.

    Raises:
        DamagedArtifactError: as `stream_rows`.
    """
    columns = column_names(kind)
    with _opened(artifact, name) as file:
        check_columns(artifact, name, file.schema_arrow, [*columns, *(only or {})])
        groups, before = _groups_of(file, part, only or {})
        yield from islice(_rows(file, kind, only or {}, groups), part.start - before, part.stop - before)


def _groups_of(file: pq.ParquetFile, part: range, only: Conditions) -> tuple[list[int], int]:
    """The row groups that hold the rows of those numbers, and how many rows come before them."""
    groups: list[int] = []
    before = seen = 0
    for group in range(file.num_row_groups):
        if seen >= part.stop:
            break
        count = _count_in_group(file, group, only)
        if seen + count > part.start:
            groups.append(group)
        else:
            before += count
        seen += count
    return groups, before


def _count_in_group(file: pq.ParquetFile, group: int, only: Conditions) -> int:
    """How many rows of a row group meet the conditions, from its statistics where one value stands in all of them."""
    metadata = file.metadata.row_group(group)
    known = [_is_throughout(metadata, column, values) for column, values in only.items()]
    if False in known:
        return 0
    if None not in known:
        return metadata.num_rows
    return sum(rows.num_rows for rows in _tables(file, list(only), only, [group]))


def _is_throughout(metadata: pq.RowGroupMetaData, column: str, values: Collection[Any]) -> bool | None:
    """Whether all rows of a row group meet a condition, or none; None if that cannot be told without reading them."""
    chunks = (metadata.column(index) for index in range(metadata.num_columns))
    statistics = next((chunk.statistics for chunk in chunks if chunk.path_in_schema == column), None)
    if statistics is None or not statistics.has_min_max or statistics.null_count != 0:
        return None
    return statistics.min in values if statistics.min == statistics.max else None


def _rows(file: pq.ParquetFile, kind: type[RowT], only: Conditions, groups: Sequence[int]) -> Iterator[RowT]:
    columns = column_names(kind)
    for rows in _tables(file, columns, only, groups):
        yield from (kind(**row) for row in rows.select(columns).to_pylist())


def _tables(
    file: pq.ParquetFile, columns: Sequence[str], only: Conditions, groups: Sequence[int]
) -> Iterator[pa.Table]:
    """The rows of some row groups that meet the conditions, a few at a time."""
    read = list(dict.fromkeys([*columns, *only]))
    allowed = {column: pa.array(list(values), file.schema_arrow.field(column).type) for column, values in only.items()}
    for batch in file.iter_batches(batch_size=ROWS_AT_A_TIME, row_groups=list(groups), columns=read):
        rows = pa.Table.from_batches([batch])
        for column, values in allowed.items():
            rows = rows.filter(pc.field(column).isin(values))
        yield rows


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
