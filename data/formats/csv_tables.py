"""CSV: rows of named cells, quotes taken strictly."""

import csv
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from comat_core.files.text_files import read_lines
from comat_core.support.errors import UserError, shortened

MOST_COLUMNS = 10_000
QUOTES = "put cells that hold commas or quotes into quotes"


@dataclass(frozen=True)
class CsvRow:
    """One row: its cells by column, and where it stands.

    Cells that a short row lacks are left out; an empty cell is an empty text.
    """

    cells: dict[str, str]
    line: int
    """In which it ends."""
    where: str
    """The file and that line, for messages."""


def read_csv_rows(
    path: Path, kind: str, columns: Iterable[str] = (), *, advice: str = "correct the file"
) -> Iterator[CsvRow]:
    """Yield the rows below the header as the file is read; blank lines are none.

    Args:
        kind: what the file should be, for the message: "prompt file".
        columns: that the header has to name.

    Raises:
        UserError: the file cannot be read; the header lacks a column or names one twice; a quote is left open or
            stands inside a cell; a row has more cells than the header, beyond empty ones at its end.
    """
    lines = (line for _, line in read_lines(path, kind, advice=advice))
    rows = csv.reader(lines, strict=True)
    row_ends = 0
    header: list[str] | None = None
    try:
        for cells in rows:
            where, row_ends = f"{path}, line {rows.line_num}", rows.line_num
            if not cells:
                continue
            if header is None:
                header = _checked_header(cells, columns, where, path)
            else:
                yield CsvRow(_named(header, cells, where), rows.line_num, where)
    except csv.Error as error:
        place = f"{path}, the row that begins in line {row_ends + 1}"
        raise UserError(f"malformed CSV: {error}", place, "correct the row; is a quote left open?") from error
    if header is None:
        _require(columns, [], path)


def _checked_header(cells: list[str], columns: Iterable[str], where: str, path: Path) -> list[str]:
    while len(cells) > 1 and not cells[-1]:
        cells.pop()
    if len(cells) > MOST_COLUMNS:
        raise UserError(f"a header of {len(cells):,} columns", where, f"a table has at most {MOST_COLUMNS:,}")
    seen: set[str] = set()
    for name in cells:
        if name and name in seen:
            raise UserError(f"column {shortened(name)!r} stands twice in the header", where, "rename one of them")
        seen.add(name)
    _require(columns, cells, path)
    return cells


def _require(columns: Iterable[str], header: list[str], path: Path) -> None:
    for column in columns:
        if column not in header:
            named = ", ".join(shortened(name) for name in header[:20]) or "none"
            raise UserError(f"no column {column!r}", str(path), f"the columns are: {named}")


def _named(header: list[str], cells: list[str], where: str) -> dict[str, str]:
    if any(cells[len(header) :]):
        raise UserError(f"a row of {len(cells):,} cells under {len(header):,} columns", where, QUOTES)
    return dict(zip(header, cells, strict=False))
