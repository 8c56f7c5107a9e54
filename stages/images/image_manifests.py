"""Lists that tell which file shows which prompt, for prompts that no file can be named after.

`manifest.csv` with the columns prompt and file, or `manifest.json`, a list of objects with those fields. A prompt's
images stand in their order; files are named relative to the folder that the list lies in.
"""

import csv
import io
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from comat_core.files.json_files import LARGE, read_json
from comat_core.files.paths import path_exists
from comat_core.support.errors import UserError
from data.formats.csv_tables import read_csv_rows
from data.formats.named_files import check_name, named_file
from stages.prompts.cleaning import normalise

CSV: Final = "manifest.csv"
JSON: Final = "manifest.json"
COLUMNS: Final = ("prompt", "file")
KIND: Final = "list of images"
ADVICE: Final = "give each image its prompt and its file"


def find_manifest(folder: Path) -> Path | None:
    """The list of a folder's images, if it has one.

    Raises:
        UserError: it has two.
    """
    found = [folder / name for name in (CSV, JSON) if path_exists(folder / name)]
    if len(found) > 1:
        raise UserError(f"there are two lists of images, {CSV} and {JSON}", str(folder), "remove one of them")
    return found[0] if found else None


def read_manifest(path: Path) -> dict[str, list[Path]]:
    """Prompt -> its images' files, in the list's order.

    Raises:
        UserError: the list cannot be read, or an entry lacks its prompt or file.
    """
    files: dict[str, list[Path]] = defaultdict(list)
    for prompt, name, where in _csv_entries(path) if path.suffix == ".csv" else _json_entries(path):
        text = normalise(prompt)
        if not text:
            raise UserError("an image without a prompt", where, ADVICE)
        files[text].append(named_file(path.parent, check_name(name, where)))
    return files


def write_manifest(folder: Path, entries: Sequence[tuple[str, str]]) -> None:
    """Write the list of a folder's images from pairs of a prompt and a file's name."""
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(COLUMNS)
    rows.writerows(entries)
    (folder / CSV).write_text(text.getvalue(), encoding="utf-8")


def _csv_entries(path: Path) -> Iterator[tuple[str, str, str]]:
    for row in read_csv_rows(path, KIND, COLUMNS, advice=ADVICE):
        prompt, name = (row.cells.get(column, "") for column in COLUMNS)
        yield prompt, name, row.where


def _json_entries(path: Path) -> Iterator[tuple[str, str, str]]:
    entries = read_json(path, KIND, shape="list", advice=ADVICE, limits=LARGE)
    for number, entry in enumerate(entries, start=1):
        where = f"{path}, item {number}"
        values: list[Any] = [entry.get(column) if isinstance(entry, dict) else None for column in COLUMNS]
        if not all(isinstance(value, str) for value in values):
            raise UserError(f"an item without the texts {' and '.join(COLUMNS)}", where, ADVICE)
        yield values[0], values[1], where
