"""Reading prompts out of files, one reader per layout. They stream, unless the format demands the whole file.

A reader takes a local file and its options and yields (text, skill); the skill is None where the file does not tell.
"""

import codecs
import csv
import io
import json
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from comat_core.errors import UserError

Prompt = tuple[str, str | None]
Reader = Callable[..., Iterator[Prompt]]

LONGEST_PROMPT = 10_000
"""Characters. More than that on one line is no prompt but a file of another kind."""


def read_lines(path: Path, first: int | None = None) -> Iterator[Prompt]:
    """One prompt per line, blank lines left out; `first`: only the first so many lines."""
    for number, line in enumerate(_decoded_lines(path), start=1):
        if first is not None and number > first:
            return
        if text := line.strip():
            yield _checked(text, f"{path}, line {number}"), None


def read_whole_files(path: Path) -> Iterator[Prompt]:
    """One prompt per file."""
    yield _checked(" ".join("".join(_decoded_lines(path)).split()), str(path)), None


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
    rows = csv.DictReader(_decoded_lines(path), strict=True)
    seen: set[tuple[str | None, str]] = set()
    row_ends = 0
    try:
        for name in (column, item_column) if item_column else (column,):
            _require_column(name, list(rows.fieldnames or ()), path)
        for row in rows:
            text = (row[column] or "").strip().removeprefix(prefix_to_drop)
            item = (row[item_column] if item_column else None, text)
            if text and not (unique and item in seen):
                if unique:
                    seen.add(item)
                yield _checked(text, f"{path}, line {rows.line_num}"), row[skill_column] if skill_column else None
            row_ends = rows.line_num
    except csv.Error as error:
        where = f"{path}, the row that begins in line {row_ends + 1}"
        raise UserError(f"malformed CSV: {error}", where, "correct the row; is a quote left open?") from error


def read_json_lines(path: Path, column: str = "prompt", skill_column: str | None = None) -> Iterator[Prompt]:
    """One JSON object per line, the prompt in the named field."""
    for number, line in enumerate(_decoded_lines(path), start=1):
        if not line.strip():
            continue
        where = f"{path}, line {number}"
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            raise UserError(f"malformed JSON: {error.msg}", where, "write one object per line") from error
        yield _from_object(row, column, skill_column, where)


def read_json(path: Path, column: str, skill_column: str | None = None) -> Iterator[Prompt]:
    """A JSON list of objects, the prompt in the named field."""
    try:
        rows = json.loads("".join(_decoded_lines(path)))
    except json.JSONDecodeError as error:
        raise UserError(f"malformed JSON: {error.msg}", f"{path}, line {error.lineno}", "correct the file") from error
    if not isinstance(rows, list):
        raise UserError("the file holds no list of objects", str(path), "write [{...}, {...}]")
    for number, row in enumerate(rows, start=1):
        yield _from_object(row, column, skill_column, f"{path}, item {number}")


def read_coco_captions(path: Path, member: str) -> Iterator[Prompt]:
    """The captions of COCO's annotation archive; `member` is the JSON file inside."""
    try:
        with zipfile.ZipFile(path) as archive, archive.open(member) as file:
            annotations = json.load(file)["annotations"]
    except (OSError, zipfile.BadZipFile, ValueError, KeyError) as error:
        raise UserError(f"no captions archive with {member}", str(path), "download it again") from error
    for annotation in annotations:
        if text := annotation["caption"].strip():
            yield text, None


def read_parquet(path: Path, column: str = "prompt", skill_column: str | None = None) -> Iterator[Prompt]:
    """One prompt per row of a Parquet file, a row group's part at a time."""
    try:
        file = pq.ParquetFile(path)
    except pa.ArrowInvalid as error:
        raise UserError("the file is no Parquet file", str(path), "check its format") from error
    columns = [column, *([skill_column] if skill_column else [])]
    for name in columns:
        _require_column(name, file.schema_arrow.names, path)
    row = 0
    for batch in _parquet_batches(file, columns, path):
        texts = batch.column(0).to_pylist()
        skills = batch.column(1).to_pylist() if skill_column else [None] * len(texts)
        for text, skill in zip(texts, skills, strict=True):
            row += 1
            if not isinstance(text, str | None):
                raise UserError(f"column {column!r} holds no text", f"{path}, row {row}", "name another column")
            if text and text.strip():
                yield _checked(text, f"{path}, row {row}"), skill


def _parquet_batches(file: pq.ParquetFile, columns: list[str], path: Path) -> Iterator[pa.RecordBatch]:
    try:
        yield from file.iter_batches(batch_size=4096, columns=columns)
    except (pa.ArrowException, OSError) as error:
        raise UserError("the Parquet file is damaged", str(path), "write or download it again") from error


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


def _decoded_lines(path: Path) -> Iterator[str]:
    """Lines of a UTF-8 file, a byte order mark skipped. Only "\\n" and "\\r\\n" end a line.

    Raises:
        UserError: the file cannot be read, or has bytes that are not UTF-8.
    """
    decoder = codecs.getincrementaldecoder("utf-8-sig")()
    try:
        with io.BufferedReader(io.FileIO(path)) as file:
            for number, line in enumerate(file, start=1):
                try:
                    yield decoder.decode(line).replace("\r\n", "\n")
                except UnicodeDecodeError as error:
                    raise UserError(
                        "the text is not UTF-8", f"{path}, line {number}", "save the file as UTF-8"
                    ) from error
    except OSError as error:
        raise UserError(f"the prompt file cannot be read: {error.strerror}", str(path), "check the path") from error


def _checked(text: str, where: str) -> str:
    if len(text) > LONGEST_PROMPT:
        limit = f"prompts have at most {LONGEST_PROMPT:,} characters: check that it holds one prompt per line or row"
        raise UserError(f"a prompt of {len(text):,} characters", where, limit)
    return text


def _require_column(column: str, columns: list[str], path: Path) -> None:
    if column not in columns:
        named = ", ".join(columns[:20]) or "none"
        raise UserError(f"no column {column!r}", str(path), f"set `column` to one of: {named}")


def _from_object(row: Any, column: str, skill_column: str | None, where: str) -> Prompt:
    if not isinstance(row, dict) or not isinstance(row.get(column), str):
        known = ", ".join(row) if isinstance(row, dict) else "none, it is no object"
        raise UserError(f"no text field {column!r}", where, f"set `column` to one of its fields ({known})")
    return _checked(row[column], where), row.get(skill_column) if skill_column else None
