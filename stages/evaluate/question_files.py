"""Benchmarks' own files of questions: from the registry or a path of the user's, matched to prompts by their text."""

import csv
import io
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from comat_core.errors import UserError
from stages.config import NOT_IN_KEY
from stages.digests import digest_file
from stages.evaluate.generated_images import Prompt

ADVICE = "get the original file"


class QuestionFile(BaseModel):
    """A file that a benchmark's authors publish."""

    model_config = ConfigDict(frozen=True, extra="forbid")

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
        from data.downloads import fetch
        from data.registry import select_sets

        ((source, prompt_set),) = select_sets(self.source)[:1]
        return fetch(source, prompt_set, self.local_dir)[0]

    def _existing(self) -> Path:
        path = Path(self.file or "").expanduser()
        if not path.is_file():
            raise UserError("the file of questions does not exist", str(path), "correct the path")
        return path

    def read_csv(self, columns: Iterable[str]) -> list[dict[str, str]]:
        """Read all rows.

        Raises:
            UserError: it is not UTF-8 text, or a row lacks a column.
        """
        path = self.local_path()
        rows = list(csv.DictReader(io.StringIO(_read_text(path), newline="")))
        _require(columns, rows, path)
        return rows

    def read_json(self, fields: Iterable[str]) -> list[dict[str, Any]]:
        """Read a JSON list of objects, or one object per line.

        Raises:
            UserError: it is neither, or an object lacks a field.
        """
        path = self.local_path()
        text = _read_text(path)
        try:
            rows = (
                json.loads(text) if text.lstrip().startswith("[") else [json.loads(line) for line in text.splitlines()]
            )
        except ValueError as error:
            raise UserError(f"malformed JSON: {error}", str(path), ADVICE) from error
        if not all(isinstance(row, dict) for row in rows):
            raise UserError("the file of questions is no list of JSON objects", str(path), ADVICE)
        _require(fields, rows, path)
        return rows


def published_as(source: str) -> BeforeValidator:
    """Let settings that name no origin, a local folder alone for one, mean the registered set."""

    def complete(value: Any) -> Any:
        names_none = isinstance(value, Mapping) and not {"source", "file"} & set(value)
        return {"source": source, **value} if names_none else value

    return BeforeValidator(complete)


def by_prompt(
    rows: Iterable[Mapping[str, Any]], column: str, prompts: Mapping[str, Prompt], where: str
) -> dict[str, list[Mapping[str, Any]]]:
    """Gather a file's rows by the run's prompts: prompt id -> its rows, in the file's order.

    Raises:
        UserError: none of the prompts stands in the file.
    """
    ids = {_normalised(prompt.text): key for key, prompt in prompts.items()}
    found: dict[str, list[Mapping[str, Any]]] = {}
    for row in rows:
        key = ids.get(_normalised(row[column]))
        if key is not None:
            found.setdefault(key, []).append(row)
    if not found:
        advice = "let the prompts stage have the benchmark's prompts in the evaluation's split"
        raise UserError("no prompt of the run stands in the file of questions", where, advice)
    return found


def _normalised(text: str) -> str:
    return " ".join(text.split())


def _read_text(path: Path) -> str:
    try:
        return path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError("the file of questions is not UTF-8 text", f"{path}, byte {error.start}", ADVICE) from error


def _require(columns: Iterable[str], rows: list[dict[str, Any]], path: Path) -> None:
    # The cells that a short row of a CSV file lacks are None.
    missing = [column for column in columns if not rows or any(row.get(column) is None for row in rows)]
    if missing:
        raise UserError(f"the file of questions lacks {missing[0]!r}", str(path), ADVICE)
