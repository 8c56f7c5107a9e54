"""Reading prompts out of files, one reader per layout. They stream, unless the format demands the whole file.

A reader takes a local file and its options and yields (text, skill); the skill is None where the file does not tell.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from comat_core.files import json_files, text_files
from comat_core.files.json_files import LARGE
from comat_core.files.regular_files import MEBIBYTE
from comat_core.support.errors import UserError
from data.formats import json_lines
from data.formats.csv_tables import read_csv_rows
from data.formats.parquet_tables import read_text_columns
from data.formats.zip_members import read_zip_member

Prompt = tuple[str, str | None]
Reader = Callable[..., Iterator[Prompt]]

KIND = "prompt file"
LONGEST_PROMPT = 10_000
"""Characters. More than that on one line is no prompt but a file of another kind."""


def read_lines(path: Path, first: int | None = None) -> Iterator[Prompt]:
    """One prompt per line, blank lines left out; `first`: only the first so many lines."""
    for number, line in text_files.read_lines(path, KIND):
        if first is not None and number > first:
            return
        if text := line.strip():
            yield _checked(text, f"{path}, line {number}"), None


def read_whole_files(path: Path) -> Iterator[Prompt]:
    """One prompt per file."""
    yield _checked(" ".join(text_files.read_text(path, KIND, limit=MEBIBYTE).split()), str(path)), None


def read_csv(
    path: Path,
    column: str = "prompt",
    skill_column: str | None = None,
    prefix_to_drop: str = "",
    unique: bool = False,
    item_column: str | None = None,
) -> Iterator[Prompt]:
    """One prompt per row, from the named column.

    Args:
        prefix_to_drop: removed from the beginning of each prompt.
        unique: rows that repeat an earlier prompt are left out (files with a row per question).
        item_column: with `unique`, prompts of different items are kept although their texts are the same.
    """
    seen: set[tuple[str | None, str]] = set()
    columns = [name for name in (column, skill_column, item_column) if name]
    for row in read_csv_rows(path, KIND, columns):
        text = row.cells.get(column, "").strip().removeprefix(prefix_to_drop)
        item = (row.cells.get(item_column) if item_column else None, text)
        if text and not (unique and item in seen):
            if unique:
                seen.add(item)
            yield _checked(text, row.where), row.cells.get(skill_column) if skill_column else None


def read_json_lines(path: Path, column: str = "prompt", skill_column: str | None = None) -> Iterator[Prompt]:
    """One JSON object per line, the prompt in the named field."""
    for number, row in json_lines.read_json_lines(path, KIND, shape="any"):
        yield _from_object(row, column, skill_column, f"{path}, line {number}")


def read_json(path: Path, column: str, skill_column: str | None = None) -> Iterator[Prompt]:
    """A JSON list of objects, the prompt in the named field."""
    rows = json_files.read_json(path, KIND, limits=LARGE)
    if not isinstance(rows, list):
        raise UserError("the file holds no list of objects", str(path), "write [{...}, {...}]")
    for number, row in enumerate(rows, start=1):
        yield _from_object(row, column, skill_column, f"{path}, item {number}")


def read_coco_captions(path: Path, member: str) -> Iterator[Prompt]:
    """The captions of COCO's annotation archive; `member` is the JSON file inside."""
    content = read_zip_member(path, member, "captions archive", limit=LARGE.size)
    where, advice = f"{path}, {member}", "download it again"
    captions = json_files.parse_json(content, "captions file", where, shape="object", advice=advice, limits=LARGE)
    annotations = captions.get("annotations")
    if not isinstance(annotations, list):
        raise UserError("the captions file has no list of annotations", where, advice)
    for number, annotation in enumerate(annotations, start=1):
        caption = annotation.get("caption") if isinstance(annotation, dict) else None
        if not isinstance(caption, str):
            raise UserError("an annotation without a caption", f"{where}, annotation {number}", advice)
        if text := caption.strip():
            yield _checked(text, f"{where}, annotation {number}"), None


def read_parquet(path: Path, column: str = "prompt", skill_column: str | None = None) -> Iterator[Prompt]:
    """One prompt per row of a Parquet file, a few rows at a time."""
    columns = [column, *([skill_column] if skill_column not in (None, column) else [])]
    for number, cells in read_text_columns(path, KIND, columns):
        text, skill = cells[0], cells[-1] if skill_column else None
        if text and text.strip():
            yield _checked(text, f"{path}, row {number}"), skill


READERS: dict[str, Reader] = {
    "lines": read_lines,
    "whole files": read_whole_files,
    "csv": read_csv,
    "json lines": read_json_lines,
    "json": read_json,
    "coco captions": read_coco_captions,
    "parquet": read_parquet,
}

USER_FORMATS = {
    ".txt": "lines",
    ".csv": "csv",
    ".jsonl": "json lines",
    ".parquet": "parquet",
}
"""Suffix of a user's prompt file -> its reader."""


def _checked(text: str, where: str) -> str:
    if len(text) > LONGEST_PROMPT:
        limit = f"prompts have at most {LONGEST_PROMPT:,} characters: check that it holds one prompt per line or row"
        raise UserError(f"a prompt of {len(text):,} characters", where, limit)
    return text


def _from_object(row: Any, column: str, skill_column: str | None, where: str) -> Prompt:
    if not isinstance(row, dict) or not isinstance(row.get(column), str):
        known = ", ".join(name[:40] for name in list(row)[:20]) if isinstance(row, dict) else "none, it is no object"
        raise UserError(f"no text field {column!r}", where, f"set `column` to one of its fields ({known})")
    skill = row.get(skill_column) if skill_column else None
    if not isinstance(skill, str | None):
        raise UserError(f"the field {skill_column!r} holds no text", where, "write the skill's name, or null")
    return _checked(row[column], where), skill
