"""Benchmarks' own files of questions: from the registry or a path of the user's, read row by row."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import BeforeValidator, Field, model_validator

from comat_core.files.json_files import LARGE, parse_json
from comat_core.files.paths import file_exists, user_path
from comat_core.files.text_files import read_text
from comat_core.settings import Settings
from comat_core.support.errors import UserError
from data.formats.csv_tables import read_csv_rows
from data.formats.json_lines import read_json_lines
from stages.plan.config import NOT_IN_KEY
from stages.plan.digests import digest_file

KIND = "file of questions"
ADVICE = "correct it, or get the original file"


@dataclass(frozen=True)
class Row:
    """One row of a file, and where it stands there."""

    values: Mapping[str, Any]
    where: str

    def text(self, field: str) -> str:
        """A field that holds text.

        Raises:
            UserError: it holds something else, or nothing.
        """
        value = self.optional_text(field)
        if not value.strip():
            raise UserError(f"{field!r} is empty", self.where, ADVICE)
        return value

    def optional_text(self, field: str) -> str:
        """A field that holds text, or nothing: an empty one.

        Raises:
            UserError: it holds something else.
        """
        value = self.values.get(field)
        if not isinstance(value, str | None):
            raise UserError(f"{field!r} is {_kind_of(value)} instead of text", self.where, ADVICE)
        return value or ""

    def texts(self, field: str) -> tuple[str, ...]:
        """A field that holds a list of texts, one at least.

        Raises:
            UserError: it holds something else.
        """
        value = self.values.get(field)
        if not isinstance(value, list):
            raise UserError(f"{field!r} is {_kind_of(value)} instead of a list of texts", self.where, ADVICE)
        if not value:
            raise UserError(f"{field!r} is an empty list", self.where, ADVICE)
        strange = [one for one in value if not isinstance(one, str)]
        if strange:
            raise UserError(f"{field!r} holds {_kind_of(strange[0])} among its texts", self.where, ADVICE)
        return tuple(value)

    def identity(self, field: str) -> str | None:
        """A field that tells items apart, text or a whole number; None if it is left out or empty.

        Raises:
            UserError: it holds something else.
        """
        value = self.values.get(field)
        if value is None or isinstance(value, str):
            return (value or "").strip() or None
        if isinstance(value, int) and not isinstance(value, bool):
            return str(value)
        raise UserError(f"{field!r} is {_kind_of(value)} instead of text or a whole number", self.where, ADVICE)


def _kind_of(value: Any) -> str:
    """What a JSON value is, in words."""
    kinds = {bool: "true or false", int: "a number", float: "a number", list: "a list", dict: "an object"}
    return "text" if isinstance(value, str) else kinds.get(type(value), "nothing")


class QuestionFile(Settings):
    """A file that a benchmark's authors publish."""

    source: Annotated[str | None, Field(description="a registered set as source/name")] = None
    file: Annotated[str | None, NOT_IN_KEY, Field(description="a file in the same format")] = None
    local_dir: Annotated[
        str | None, NOT_IN_KEY, Field(description="folder or fsspec URL with the sources' files; default: download")
    ] = None

    @model_validator(mode="after")
    def _names_one_origin(self) -> Self:
        if (self.source is None) == (self.file is None):
            raise ValueError("give either `source` or `file`")
        return self

    def content_identity(self) -> Any:
        """What the file holds, independent of where it lies.

        Raises:
            UserError: there is no such registered set, or no such file.
        """
        if self.source is not None:
            from data.registry import select_sets

            return [[source.name, one.path, one.checksum] for source, one in select_sets(self.source)]
        return digest_file(self._existing())

    def local_path(self) -> Path:
        """The file on this machine, checksum verified if it is registered.

        Raises:
            UserError: it cannot be had.
        """
        if self.source is None:
            return self._existing()
        from data.downloading.downloads import fetch
        from data.registry import select_sets

        ((source, prompt_set),) = select_sets(self.source)[:1]
        return fetch(source, prompt_set, self.local_dir)[0]

    def _existing(self) -> Path:
        path = user_path(self.file or "")
        if not file_exists(path):
            raise UserError("the file of questions does not exist", str(path), "correct the path")
        return path

    def read_csv(self, columns: Iterable[str]) -> list[Row]:
        """Read all rows.

        Raises:
            UserError: it is not UTF-8 text, malformed, or lacks a column.
        """
        path = self.local_path()
        return _checked(_csv_rows(path), columns, path)

    def read_json(self, fields: Iterable[str]) -> list[Row]:
        """Read a JSON list of objects, or one object per line.

        Raises:
            UserError: it is neither, or an object lacks a field.
        """
        path = self.local_path()
        return _checked(_json_rows(path), fields, path)


def published_as(source: str) -> BeforeValidator:
    """Let settings that name no origin, a local folder alone for one, mean the registered set."""

    def complete(value: Any) -> Any:
        names_none = isinstance(value, Mapping) and not {"source", "file"} & set(value)
        return {"source": source, **value} if names_none else value

    return BeforeValidator(complete)


def _checked(rows: Iterable[Row], fields: Iterable[str], path: Path) -> list[Row]:
    """Take the rows of a file, of which each has to have the fields."""
    taken = list(rows)
    if not taken:
        raise UserError("the file of questions holds none", str(path), ADVICE)
    for field in fields:
        lacking = next((row for row in taken if row.values.get(field) is None), None)
        if lacking is not None:
            raise UserError(f"the file of questions lacks {field!r}", lacking.where, ADVICE)
    return taken


def _csv_rows(path: Path) -> Iterator[Row]:
    read_text(path, KIND, limit=LARGE.size, advice=ADVICE)  # all of it is text, before a row is taken
    for number, row in enumerate(read_csv_rows(path, KIND, advice=ADVICE), 1):
        yield Row(row.cells, f"{row.where} (question {number})")


def _json_rows(path: Path) -> Iterator[Row]:
    text = read_text(path, KIND, limit=LARGE.size, advice=ADVICE)
    if text.lstrip().startswith("["):
        values = parse_json(text, KIND, str(path), shape="list", advice=ADVICE, limits=LARGE)
        places = ((f"item {number}", value) for number, value in enumerate(values, 1))
    else:
        places = ((f"line {number}", value) for number, value in read_json_lines(path, KIND, shape="any"))
    for place, value in places:
        if not isinstance(value, dict):
            raise UserError("the file of questions is no list of JSON objects", f"{path}, {place}", ADVICE)
        yield Row(value, f"{path}, {place}")
