"""Parquet: columns of text, a few rows at a time.

What a column repeats is kept once until its length is known: a file of kilobytes can name gigabytes of text.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, Final

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from comat_core.files.regular_files import MEBIBYTE, opened_file
from comat_core.support.errors import UserError

ROWS_AT_A_TIME: Final = 1024
LONGEST_CELL: Final = MEBIBYTE // 4
LARGEST_FOOTER: Final = 64 * MEBIBYTE
MOST_IN_FOOTER: Final = 1_000_000  # columns of row groups


def read_text_columns(
    path: Path, kind: str, columns: Sequence[str], *, advice: str = "write or download it again"
) -> Iterator[tuple[int, list[str | None]]]:
    """Yield (row number, cells) of the named columns, in their order. Rows are numbered from 1.

    Args:
        kind: what the file should be, for the message: "prompt file".

    Raises:
        UserError: the file cannot be read, is no Parquet, is damaged, or lacks a column; a column holds something else
            than text; a cell is larger than any real one.
    """
    with opened_file(path, kind, advice=advice) as opened, _damage_told(path, advice):
        metadata = _checked_metadata(opened, columns, path)
        file = pq.ParquetFile(opened, metadata=metadata, read_dictionary=list(columns))
        row = 0
        for batch in file.iter_batches(batch_size=ROWS_AT_A_TIME, columns=list(columns), use_threads=False):
            cells = [_texts(batch.column(name), name, f"{path}, row {row + 1}") for name in columns]
            for one in zip(*cells, strict=True):
                row += 1
                yield row, list(one)


def _checked_metadata(opened: BinaryIO, columns: Sequence[str], path: Path) -> pq.FileMetaData:
    """Read the footer alone, and compare the columns that it names with those that are wanted.

    Not what it says of row groups: the library ends the whole process over damage there, unless it reads them itself.
    """
    with _no_parquet_told(path):
        file = pq.ParquetFile(
            opened, thrift_string_size_limit=LARGEST_FOOTER, thrift_container_size_limit=MOST_IN_FOOTER
        )
        schema = file.schema_arrow
    for name in columns:
        if name not in schema.names:
            known = ", ".join(repr(one[:40])[1:-1] for one in schema.names[:20]) or "none"
            raise UserError(f"no column {name!r}", str(path), f"the columns are: {known}")
        if schema.names.count(name) > 1:
            raise UserError(f"column {name!r} stands twice in the file", str(path), "rename one of them")
        if not _is_text(schema.field(name).type):
            raise UserError(f"column {name!r} holds no text", f"{path}, row 1", "name another column")
    return file.metadata


def _is_text(kind: pa.DataType) -> bool:
    if pa.types.is_dictionary(kind):
        return _is_text(kind.value_type)
    return pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_null(kind)


def _texts(column: Any, name: str, where: str) -> list[str | None]:
    """The cells of one column of a batch, whose first row is at `where`."""
    repeated = isinstance(column, pa.DictionaryArray)
    values = column.dictionary if repeated else column
    if not pa.types.is_null(values.type):
        longest = pc.max(pc.binary_length(values)).as_py() or 0  # pyright: ignore[reportAttributeAccessIssue]
        if longest > LONGEST_CELL:
            problem = f"column {name!r} holds a cell of {longest:,} bytes"
            raise UserError(problem, where, f"cells have at most {LONGEST_CELL:,}; name another column")
    try:
        return (column.dictionary_decode() if repeated else column).to_pylist()
    except UnicodeDecodeError as error:
        raise UserError(f"column {name!r} holds text that is not UTF-8", where, "save it as UTF-8") from error


@contextmanager
def _no_parquet_told(path: Path) -> Iterator[None]:
    try:
        yield
    except (pa.ArrowException, OSError, ValueError) as error:
        raise UserError("the file is no Parquet file", str(path), "check its format") from error


@contextmanager
def _damage_told(path: Path, advice: str) -> Iterator[None]:
    """What the library says of damaged pages; it has a dozen exceptions for them."""
    try:
        yield
    except (pa.ArrowException, OSError, ValueError, OverflowError, MemoryError) as error:
        raise UserError("the Parquet file is damaged", str(path), advice) from error
