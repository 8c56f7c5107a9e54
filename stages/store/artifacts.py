"""What a stage leaves behind: files in one folder of the store, and a manifest that vouches for them.

An `Artifact` is a small reference (stage, key, URL) that reads the files; an `ArtifactWriter` makes them
(`stages.store.artifact_writer`).
"""

import hashlib
import io
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Annotated, Any

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import AfterValidator, BaseModel, ConfigDict

from comat_core.files.json_files import LARGE, parse_json
from comat_core.support.errors import UserError
from stages.plan.digests import digest_bytes, digest_json
from stages.store.filesystem import Folder
from stages.store.local_disk import disk_errors_told

if TYPE_CHECKING:
    from torch import Tensor

MANIFEST = "manifest.json"
CHECKSUMS = ".checksums/"
PARTS = ".parts/"
LARGEST_MANIFEST = 256 * 2**20
"""Bytes; what is longer was not written here."""


def _inside(name: str) -> str:
    """Refuse a file's name that leads out of its artifact: what lies in a store never chooses where else to write."""
    path = PurePosixPath(name)
    if not name or "\\" in name or "\0" in name or path.is_absolute() or {"..", "."} & set(name.split("/")):
        raise ValueError(f"{name!r} is no name of a file inside an artifact")
    return name


FileName = Annotated[str, AfterValidator(_inside)]


class DamagedArtifactError(UserError):
    """A file of an artifact is gone, or is not what the manifest says."""

    def __init__(self, stage: str, where: str, problem: str) -> None:
        super().__init__(problem, where, f"run again with --refresh {stage} to recompute it")


class FileRecord(BaseModel):
    """One file of an artifact."""

    model_config = ConfigDict(frozen=True)

    size: int  # bytes
    sha256: str
    seconds: float = 0.0  # time the stage spent on it

    def describes(self, content: bytes) -> bool:
        return len(content) == self.size and digest_bytes(content) == self.sha256


class InputRecord(BaseModel):
    """One input as the stage saw it."""

    model_config = ConfigDict(frozen=True)

    stage: str
    key: str
    digest: str  # of the input's files


class Manifest(BaseModel):
    """Everything needed to know what an artifact is, what it was made from and whether it is whole."""

    stage: str
    key: str
    version: int
    config: dict[str, Any]
    inputs: dict[str, InputRecord]
    files: dict[FileName, FileRecord]
    libraries: dict[str, str]
    seconds: float
    finished_at: str  # ISO 8601, UTC

    @property
    def digest(self) -> str:
        """Digest of the files' names and contents: equal artifacts have equal digests, whenever they were made."""
        return digest_json({name: record.sha256 for name, record in self.files.items()})


class Artifact(BaseModel):
    """Reference to a finished artifact. Names of files are paths inside the artifact, with their extension."""

    model_config = ConfigDict(frozen=True)

    stage: str
    key: str
    url: str  # of the artifact's own folder

    @property
    def folder(self) -> Folder:
        return Folder(self.url)

    @cached_property  # no field: two references to one artifact are equal whichever of them was read
    def manifest(self) -> Manifest:
        """The manifest, read once.

        Raises:
            DamagedArtifactError: it is gone, unreadable, or another artifact's.
        """
        try:
            manifest = Manifest.model_validate_json(self.folder.read(MANIFEST, limit=LARGEST_MANIFEST))
        except (FileNotFoundError, ValueError, RecursionError) as error:
            raise DamagedArtifactError(self.stage, self.url, "the artifact has no readable manifest") from error
        if (manifest.stage, manifest.key) != (self.stage, self.key):
            whose = f"{manifest.stage}/{manifest.key}"
            raise DamagedArtifactError(self.stage, self.url, f"the manifest is that of {whose}")
        return manifest

    def files(self, prefix: str = "") -> list[str]:
        """Names of the files that begin with `prefix`, sorted."""
        return sorted(name for name in self.manifest.files if name.startswith(prefix))

    def read_bytes(self, name: str) -> bytes:
        """Read a file and compare it with its checksum.

        Raises:
            DamagedArtifactError: the file is not the one that the stage wrote.
        """
        record = self._record(name)
        try:
            content = self.folder.read(name, limit=record.size)
        except FileNotFoundError as error:
            raise DamagedArtifactError(self.stage, f"{self.url}/{name}", "a file of the artifact is gone") from error
        if not record.describes(content):
            raise DamagedArtifactError(self.stage, f"{self.url}/{name}", "a file of the artifact is damaged")
        return content

    def blocks(self, name: str) -> Iterator[bytes]:
        """Read a file a block at a time and compare it with its checksum, which is right once the end is reached.

        Raises:
            DamagedArtifactError: the file is not the one that the stage wrote.
        """
        record, size, digest = self._record(name), 0, hashlib.sha256()
        try:
            for block in self.folder.blocks(name):
                size += len(block)
                digest.update(block)
                if size > record.size:
                    break
                yield block
        except FileNotFoundError as error:
            raise DamagedArtifactError(self.stage, f"{self.url}/{name}", "a file of the artifact is gone") from error
        if (size, digest.hexdigest()) != (record.size, record.sha256):
            raise DamagedArtifactError(self.stage, f"{self.url}/{name}", "a file of the artifact is damaged")

    def check(self, name: str) -> None:
        """Compare a file with its checksum, however large it is.

        Raises:
            DamagedArtifactError: the file is not the one that the stage wrote.
        """
        for _ in self.blocks(name):
            pass

    def read_json(self, name: str) -> Any:
        """Read one JSON document.

        Raises:
            DamagedArtifactError: the file is not the one that the stage wrote.
        """
        content, where = self.read_bytes(name), f"{self.url}/{name}"
        try:
            return parse_json(content, "file of the artifact", where, limits=LARGE)
        except UserError as error:
            raise DamagedArtifactError(self.stage, where, error.what) from error

    def read_table(self, name: str) -> pa.Table:
        """Read one Parquet file ("index.parquet"), or all of a folder ("index") as one table in the order of names.

        Raises:
            DamagedArtifactError: a file is not the one that the stage wrote.
        """
        if name.endswith(".parquet"):
            content = self.read_bytes(name)
            try:
                return pq.read_table(io.BytesIO(content))
            except (pa.ArrowException, OSError, ValueError) as error:
                raise DamagedArtifactError(self.stage, f"{self.url}/{name}", "the table cannot be read") from error
        parts = self.files(f"{name}/")
        if not parts:
            raise KeyError(f"artifact {self.stage}/{self.key} has no table {name}")
        return pa.concat_tables([self.read_table(part) for part in parts])

    def read_tensors(self, name: str) -> "dict[str, Tensor]":
        """Read one safetensors file.

        Raises:
            DamagedArtifactError: the file is not the one that the stage wrote.
        """
        from safetensors import SafetensorError
        from safetensors.torch import load

        content = self.read_bytes(name)
        try:
            return load(content)
        except SafetensorError as error:
            raise DamagedArtifactError(self.stage, f"{self.url}/{name}", "the tensors cannot be read") from error

    @contextmanager
    def local_path(self, prefix: str = "") -> Iterator[Path]:
        """Give a local folder with the files below `prefix`, for libraries that load from folders.

        A local store's own folder is given as it is; files of a remote store are downloaded and removed afterwards.
        Every file is compared with its checksum first.
        """
        names, local = self.files(prefix), self.folder.local
        if local is not None:
            for name in names:
                self.check(name)
            yield local / prefix
            return
        with tempfile.TemporaryDirectory(prefix="comat-") as temporary:
            for name in names:
                target = Path(temporary) / name
                self.copy(name, target)
            yield Path(temporary) / prefix

    def copy(self, name: str, target: Path) -> None:
        """Copy a file to this machine's disk, comparing it with its checksum.

        Raises:
            DamagedArtifactError: the file is not the one that the stage wrote.
            UserError: the disk is full, or may not be written.
        """
        with disk_errors_told("copy of a stored file", target):
            target.parent.mkdir(parents=True, exist_ok=True)
            file = target.open("wb")
        with file:
            for block in self.blocks(name):
                with disk_errors_told("copy of a stored file", target):
                    file.write(block)

    def problems(self, *, check_digests: bool = False) -> list[str]:
        """Compare the files with the manifest: sizes, and contents too when asked. An empty list means intact."""
        sizes, found = self.folder.sizes(), []
        for name, record in self.manifest.files.items():
            if name not in sizes:
                found.append(f"{name} is gone")
            elif sizes[name] != record.size:
                found.append(f"{name} has {sizes[name]} bytes instead of {record.size}")
            elif check_digests and not self._is_as_written(name):
                found.append(f"{name} has other content than when it was written")
        return found

    def _is_as_written(self, name: str) -> bool:
        try:
            self.check(name)
        except DamagedArtifactError:
            return False
        return True

    def _record(self, name: str) -> FileRecord:
        record = self.manifest.files.get(name)
        if record is None:
            raise KeyError(f"artifact {self.stage}/{self.key} has no file {name}")
        return record
