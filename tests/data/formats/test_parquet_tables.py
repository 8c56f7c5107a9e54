"""Parquet: columns of text; damage and what would not fit into memory are told."""

import os
import resource
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from comat_core.support.errors import UserError
from data.formats.parquet_tables import read_text_columns


def written(folder: Path, table: pa.Table, row_group_size: int | None = None) -> Path:
    path = folder / "a.parquet"
    pq.write_table(table, path, row_group_size=row_group_size)
    return path


def test_rows_are_numbered_through_all_row_groups_and_columns_come_as_asked_for(tmp_path: Path) -> None:
    texts = [f"{number} cats" for number in range(3000)]
    tags = pa.array(["even", "odd"] * 1500).dictionary_encode()
    path = written(tmp_path, pa.table({"tag": tags, "id": range(3000), "text": texts}), row_group_size=700)
    rows = list(read_text_columns(path, "table", ["text", "tag"]))
    assert rows == [(number + 1, [text, ("even", "odd")[number % 2]]) for number, text in enumerate(texts)]


def test_missing_cells_are_none(tmp_path: Path) -> None:
    path = written(
        tmp_path, pa.table({"text": ["a", None], "tag": pa.nulls(2), "long": pa.array(["b", None], "large_string")})
    )
    assert list(read_text_columns(path, "table", ["text", "tag", "long"])) == [(1, ["a", None, "b"]), (2, [None] * 3)]


def test_a_column_of_something_else_or_none_at_all_is_told(tmp_path: Path) -> None:
    path = written(tmp_path, pa.table({"text": ["a"], "number": [1], "bytes": [b"a"], "group": [{"a": "b"}]}))
    for name in ("number", "bytes", "group"):
        with pytest.raises(UserError, match=rf"column '{name}' holds no text .*row 1\)"):
            list(read_text_columns(path, "table", [name]))
    with pytest.raises(UserError, match=r"no column 'prompt'.*the columns are: text, number, bytes, group"):
        list(read_text_columns(path, "table", ["prompt"]))


def test_text_that_is_not_utf_8_is_told(tmp_path: Path) -> None:
    raw = pa.array([b"a cat", b"caf\xe9"]).view(pa.string())
    with pytest.raises(UserError, match=r"column 'text' holds text that is not UTF-8 .*row 1\)"):
        list(read_text_columns(written(tmp_path, pa.table({"text": raw})), "table", ["text"]))


def test_a_small_file_that_names_gigabytes_of_text_is_refused(tmp_path: Path) -> None:
    column = pa.DictionaryArray.from_arrays(pa.array([0] * 100_000, pa.int32()), pa.array(["q" * 2_000_000]))
    path = written(tmp_path, pa.table({"text": column}))
    assert path.stat().st_size < 200_000
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(UserError, match=r"column 'text' holds a cell of 2,000,000 bytes"):
        list(read_text_columns(path, "table", ["text"]))
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000  # KiB


@pytest.mark.parametrize("kept", [0, 3, 12, 200, -1, -8, -9, -40])
def test_a_cut_file_is_told(tmp_path: Path, kept: int) -> None:
    path = written(tmp_path, pa.table({"text": [f"{number} cats" for number in range(1000)]}))
    os.truncate(path, kept if kept >= 0 else path.stat().st_size + kept)
    with pytest.raises(UserError, match=r"the file is no Parquet file \(.*a\.parquet\)"):
        list(read_text_columns(path, "table", ["text"]))


def test_what_is_no_file_is_told(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.parquet")
    with pytest.raises(UserError, match="the table cannot be read: it is a pipe"):
        list(read_text_columns(tmp_path / "a.parquet", "table", ["text"]))


def test_damage_over_which_the_library_would_end_the_process_is_told(tmp_path: Path) -> None:
    content = written(tmp_path, pa.table({"text": ["a cat", "a dog", None]})).read_bytes()
    footer = len(content) - 8 - int.from_bytes(content[-8:-4], "little")
    program = """
import sys
from pathlib import Path
from comat_core.support.errors import UserError
from data.formats.parquet_tables import read_text_columns
for path in map(Path, sys.argv[1:]):
    try:
        print(len(list(read_text_columns(path, "table", ["text"]))))
    except UserError as error:
        print(error)
"""
    paths = []
    for place in (footer + 18, footer + 19, footer + 20, footer + 110):
        for bit in range(8):
            paths.append(tmp_path / f"{place}-{bit}.parquet")
            paths[-1].write_bytes(content[:place] + bytes([content[place] ^ 1 << bit]) + content[place + 1 :])
    command = [sys.executable, "-c", program, *map(str, paths)]
    finished = subprocess.run(command, capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stderr
    assert len(finished.stdout.splitlines()) == len(paths)
