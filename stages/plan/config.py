"""What every stage's config has in common: strict types, and the part of it that names the result."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Self

from pydantic import BaseModel, Field, model_validator

import data
from comat_core.files.paths import folder_exists, path_exists, user_path
from comat_core.settings import SAME_RESULT, UNSAID_IF_EMPTY, Settings
from comat_core.support.errors import UserError
from stages.models.folder_files import files_below
from stages.models.hub import fetch_file, fetch_folder
from stages.plan.digests import digest_file, digest_json

if TYPE_CHECKING:
    from stages.store.artifacts import Artifact

DATA_SCHEME = "data://"
HUB_ID = re.compile(r"[\w.-]+(/[\w.-]+)?")
IDENTITY_IGNORES = {".md"}  # a model card does not change the model


NOT_IN_KEY: Final = SAME_RESULT
"""Annotation for settings of speed and place: `batch_size: Annotated[int, NOT_IN_KEY] = 8`."""


NOT_IN_KEY_IF_EMPTY: Final = UNSAID_IF_EMPTY
"""Annotation for settings that came later than the keys of results: `rewards: Annotated[..., NOT_IN_KEY_IF_EMPTY]`."""


@dataclass(frozen=True)
class NotInKeyIf:
    """Annotation for settings that came later too, whose value stands for what was done before there was a choice."""

    value: Any


class ModelReference(Settings):
    """A pretrained model: a local folder, a folder of the installed data package (data://...), or a hub id."""

    path: Annotated[str, Field(min_length=1, description="local folder, data://folder, or hub id such as org/name")]
    revision: Annotated[str | None, Field(description="commit or tag on the hub; ignored for local folders")] = None
    file: Annotated[
        str | None,
        Field(min_length=1, description="the one file inside that is the model, for checkpoints of one file"),
    ] = None

    @model_validator(mode="before")
    @classmethod
    def _from_path(cls, value: Any) -> Any:
        return {"path": value} if isinstance(value, str) else value

    def resolve(self) -> str:
        """The local path or hub id to hand to `from_pretrained`; a file of a hub model is fetched into the cache.

        Raises:
            UserError: it looks like a folder, and there is none; or the hub's file cannot be had.
        """
        local = self.local_path()
        if local is not None:
            return str(local)
        return self.path if self.file is None else str(fetch_file(self.path, self.file, self.revision))

    def resolve_folder(self) -> str:
        """The local folder, for libraries that know no revisions; a hub model is fetched into the cache.

        Raises:
            UserError: there is no such folder, or the hub's model cannot be had.
        """
        local = self.local_path()
        return str(fetch_folder(self.path, self.revision) if local is None else local)

    def local_path(self) -> Path | None:
        """Where the model lies outside the hub's cache; None for a hub id.

        Raises:
            UserError: it looks like a folder, and there is none.
        """
        if self.path.startswith(DATA_SCHEME):
            path = Path(data.__file__).parent / self.path.removeprefix(DATA_SCHEME)
        else:
            path = user_path(self.path)
        if self.file is not None and folder_exists(path):
            path /= self.file
        if path_exists(path):
            return path
        if HUB_ID.fullmatch(self.path):
            return None
        raise UserError("there is no such folder", f"path {self.path}", "give an existing folder or a hub id")

    def identity(self) -> str:
        """What the model is, wherever it lies: a digest of a folder's files, or the hub id with its revision."""
        path = self.local_path()
        if path is None:
            return f"hub:{self.path}@{self.revision or 'main'}" + (f"/{self.file}" if self.file else "")
        inside = [path] if path.is_file() else sorted(files_below(path))
        files = [file for file in inside if file == path or file.suffix not in IDENTITY_IGNORES]
        return "files:" + digest_json({str(file.relative_to(path)): _digest_unchanged(file) for file in files})


def _digest_unchanged(file: Path) -> str:
    status = file.stat()
    return _digest_of_version(file.resolve(), status.st_size, status.st_mtime_ns)


@cache
def _digest_of_version(file: Path, size: int, modified: int) -> str:  # noqa: ARG001  size and time select the version
    return digest_file(file)


class StageConfig(Settings):
    """Base of all stage configs. Frozen; unknown fields are mistakes; numbers have units and ranges in their fields."""

    def key_payload(self) -> dict[str, Any]:
        """The JSON value that goes into the artifact's key: every field except those marked NOT_IN_KEY
        and, while they are None or hold nothing, NOT_IN_KEY_IF_EMPTY, or have the value of their NotInKeyIf.

        Model references are replaced by the identity of what they point at.
        """
        return _payload(self, "")

    def fetch_files(self) -> None:
        """Get and check the published files that the stage reads beside its inputs and its models from the hub.

        A run does this before anything else, so that a missing or malformed one is reported at once and not after
        hours of work.

        Raises:
            UserError: one cannot be had, or is malformed.
        """

    def check_prompts(self, prompts: "Artifact") -> None:
        """Check the run's prompts as soon as there are any, before anything else is made from them.

        Raises:
            UserError: the stage can do nothing with them.
        """

    def check_beside(self, sections: "Mapping[str, StageConfig]") -> None:
        """Check what these settings have to have in common with those of other stages.

        Args:
            sections: all settings of the preset, by the name of their section.

        Raises:
            ValueError: they do not; the message names both.
        """

    def limited_to(self, split: str) -> Self | None:  # noqa: ARG002  (for the stages that draw splits)
        """The settings of a node that is about one split of the prompts alone; None if these do not ask for it."""
        return self

    def of_others(self) -> "Mapping[str, StageConfig]":
        """Name -> settings of the node of each other generator that these name."""
        return {}


def _payload(value: Any, name: str) -> Any:
    """What the value of the setting with that dotted name adds to a key."""
    if isinstance(value, ModelReference):
        return _identity(value, name)
    if isinstance(value, BaseModel):
        fields = type(value).model_fields
        kept = (field for field, info in fields.items() if _is_in_key(getattr(value, field), info.metadata))
        return {field: _payload(getattr(value, field), f"{name}.{field}".lstrip(".")) for field in kept}
    if isinstance(value, Mapping):
        return {str(key): _payload(item, f"{name}.{key}") for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_payload(item, f"{name}[{index}]") for index, item in enumerate(value)]
    if isinstance(value, (set, frozenset)):
        return sorted(_payload(item, name) for item in value)
    if isinstance(value, Path):
        return str(value)
    assert value is None or isinstance(value, (str, int, float, bool)), f"{value!r} cannot be part of a key"
    return value


def _is_in_key(value: Any, marks: list[Any]) -> bool:
    is_empty = value is None or value == {}
    if NOT_IN_KEY in marks or (is_empty and NOT_IN_KEY_IF_EMPTY in marks):
        return False
    return not any(isinstance(mark, NotInKeyIf) and mark.value == value for mark in marks)


def _identity(model: ModelReference, name: str) -> str:
    try:
        return model.identity()
    except UserError as error:
        raise UserError(error.what, f"{error.where}, the setting {name}", error.what_to_do) from error
