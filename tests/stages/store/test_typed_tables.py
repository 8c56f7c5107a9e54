"""Tables as rows of a dataclass: which columns and rows are read, and what is said when something is not there."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from stages.store.artifacts import Artifact, DamagedArtifactError
from stages.store.store import Store
from stages.store.streamed_tables import count_rows, stream_part, stream_rows, write_streamed_table
from stages.store.typed_tables import read_rows
from tests.stages.fake_run import make_artifact


@dataclass(frozen=True)
class Row:
    name: str
    number: int


@dataclass(frozen=True)
class OtherRow(Row):
    colour: str


@pytest.fixture
def artifact(any_store: Store) -> Artifact:
    rows = [{"number": number, "name": f"n{number}", "even": number % 2 == 0} for number in range(5)]
    return make_artifact(any_store, "prompts", tables={"rows.parquet": pa.Table.from_pylist(rows)})


def test_rows_have_the_columns_of_their_kind_and_the_order_of_the_table(artifact: Artifact) -> None:
    rows = [Row(f"n{number}", number) for number in range(5)]
    assert read_rows(artifact, "rows.parquet", Row) == rows
    assert list(stream_rows(artifact, "rows.parquet", Row)) == rows
    assert count_rows(artifact, "rows.parquet") == 5


def test_rows_are_chosen_by_columns_that_need_not_be_read(artifact: Artifact) -> None:
    assert [row.number for row in read_rows(artifact, "rows.parquet", Row, {"even": [True]})] == [0, 2, 4]
    both = {"even": [True], "name": ["n1", "n2"]}
    assert read_rows(artifact, "rows.parquet", Row, both) == [Row("n2", 2)]
    assert read_rows(artifact, "rows.parquet", Row, {"name": []}) == []


READERS: list[Callable[[Artifact, str, Any], Any]] = [
    lambda artifact, name, kind: read_rows(artifact, name, kind),
    lambda artifact, name, kind: list(stream_rows(artifact, name, kind)),
]


@pytest.mark.parametrize("read", READERS)
def test_what_is_not_there_is_one_line_that_says_what_and_where(
    artifact: Artifact, read: Callable[[Artifact, str, Any], Any]
) -> None:
    with pytest.raises(DamagedArtifactError) as lacking:
        read(artifact, "rows.parquet", OtherRow)
    where = f"{artifact.url}/rows.parquet"
    assert str(lacking.value) == (
        f"the table has no column 'colour' ({where}): run again with --refresh prompts to recompute it"
    )
    with pytest.raises(DamagedArtifactError, match="the artifact has no such table"):
        read(artifact, "other.parquet", Row)


def test_a_condition_on_a_column_that_is_not_there_is_told_too(artifact: Artifact) -> None:
    with pytest.raises(DamagedArtifactError, match="the table has no column 'split'"):
        read_rows(artifact, "rows.parquet", Row, {"split": ["train"]})


@pytest.mark.parametrize("read", READERS)
def test_a_file_that_is_no_table_is_told(store: Store, read: Callable[[Artifact, str, Any], Any]) -> None:
    writer = store.writer("prompts", "key", {"version": 1, "config": {}}, {})
    writer.write_bytes("rows.parquet", b"nothing of the kind")
    with pytest.raises(DamagedArtifactError, match="the table cannot be read"):
        read(writer.finish(), "rows.parquet", Row)


def test_streamed_rows_are_chosen_as_those_that_are_read(artifact: Artifact) -> None:
    for only in ({"even": [True]}, {"even": [True], "name": ["n1", "n2"]}, {"name": []}):
        assert list(stream_rows(artifact, "rows.parquet", Row, only)) == read_rows(artifact, "rows.parquet", Row, only)
    with pytest.raises(DamagedArtifactError, match="the table has no column 'split'"):
        list(stream_rows(artifact, "rows.parquet", Row, {"split": ["train"]}))


@pytest.fixture
def grouped(any_store: Store) -> Artifact:
    """Thirty rows in six row groups: three of one colour, one with both, one of the other, one without."""
    colours = [*["red"] * 17, *["blue"] * 8, *[None] * 5]
    rows = [{"number": number, "name": f"n{number}", "colour": colour} for number, colour in enumerate(colours)]
    schema = pa.schema([("number", pa.int64()), ("name", pa.string()), ("colour", pa.string())])
    writer = any_store.writer("prompts", "grouped", {"version": 1, "config": {}}, {})
    groups = (pa.Table.from_pylist(rows[first : first + 5], schema=schema) for first in range(0, 30, 5))
    write_streamed_table(writer, "rows.parquet", schema, groups)
    return writer.finish()


@pytest.mark.parametrize("only", [{}, {"colour": ["red"]}, {"colour": ["blue"], "name": ["n18", "n21"]}, {"name": []}])
def test_a_part_is_what_a_slice_of_all_rows_is(grouped: Artifact, only: dict[str, list[str]]) -> None:
    rows = read_rows(grouped, "rows.parquet", Row, only)
    assert count_rows(grouped, "rows.parquet", only) == len(rows)
    for start in range(0, 33, 3):
        for size in (0, 1, 4, 40):
            part = range(start, start + size)
            assert list(stream_part(grouped, "rows.parquet", Row, part, only)) == rows[start : start + size]


def test_of_a_part_only_its_row_groups_are_read(grouped: Artifact, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[tuple[list[int], list[str]]] = []
    iter_batches = pq.ParquetFile.iter_batches

    def noted(file: pq.ParquetFile, *, row_groups: list[int], columns: list[str], batch_size: int) -> Any:
        read.append((row_groups, columns))
        return iter_batches(file, batch_size=batch_size, row_groups=row_groups, columns=columns)

    monkeypatch.setattr(pq.ParquetFile, "iter_batches", noted)
    red, blue = {"colour": ["red"]}, {"colour": ["blue"]}
    assert [row.number for row in stream_part(grouped, "rows.parquet", Row, range(6, 9), red)] == [6, 7, 8]
    assert read == [([1], ["name", "number", "colour"])]
    read.clear()
    assert [row.number for row in stream_part(grouped, "rows.parquet", Row, range(4, 6), blue)] == [21, 22]
    assert read == [([3], ["colour"]), ([4], ["name", "number", "colour"])]
    read.clear()
    assert count_rows(grouped, "rows.parquet", blue) == 8
    assert read == [([3], ["colour"]), ([5], ["colour"])]
