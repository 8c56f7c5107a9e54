"""CSV: strict quotes, and no cell without a column."""

from pathlib import Path

import pytest

from comat_core.support.errors import UserError
from data.formats.csv_tables import read_csv_rows


def cells(folder: Path, content: str, *columns: str) -> list[dict[str, str]]:
    path = folder / "a.csv"
    path.write_bytes(content.encode())
    return [row.cells for row in read_csv_rows(path, "table", columns)]


def test_cells_stand_under_their_columns(tmp_path: Path) -> None:
    content = '\ufeffid,text,\r\n1,"a ""red"" cat,\nor two",\r\n\r\n2\n3,,,,\n'
    assert cells(tmp_path, content, "id", "text") == [
        {"id": "1", "text": 'a "red" cat,\nor two'},
        {"id": "2"},
        {"id": "3", "text": ""},
    ]


def test_rows_know_their_lines(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text('id\n"1\n1"\n2\n')
    rows = list(read_csv_rows(tmp_path / "a.csv", "table"))
    assert [(row.line, row.where) for row in rows] == [
        (3, f"{tmp_path}/a.csv, line 3"),
        (4, f"{tmp_path}/a.csv, line 4"),
    ]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            'id,text\n1,"a cat\n2,a dog\n',
            r"malformed CSV: unexpected end.*row that begins in line 2\): .*quote left open",
        ),
        ('id,text\n1,"a cat\n2,"a dog"\n', r"malformed CSV: ',' expected after '\"'.*row that begins in line 2"),
        ("id,text\n1,a cat, red\n", r"a row of 3 cells under 2 columns \(.*line 2\): put cells that hold commas"),
        ("id,text\n1," + "x" * 200_000, r"malformed CSV: field larger than field limit.*line 2"),
        ("id,id\n1,2\n", r"column 'id' stands twice in the header \(.*line 1"),
        ("id\n1\n", r"no column 'text' \(.*a\.csv\): the columns are: id"),
        ("", r"no column 'id' \(.*\): the columns are: none"),
        (",".join(str(number) for number in range(20_000)), "a header of 20,000 columns"),
        ("id,text\n1,a\0b\n2,\r3\n", "malformed CSV"),
    ],
)
def test_what_is_refused(tmp_path: Path, content: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        cells(tmp_path, content, "id", "text")
