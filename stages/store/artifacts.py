"""What a stage leaves behind: files in one folder of the store, and a manifest that vouches for them.

An `Artifact` is a small reference (stage, key, URL) that reads the files; an `ArtifactWriter` makes them. Each file is
written atomically with its checksum beside it, so that a killed stage can go on where it stopped; `finish` writes
`manifest.json` last. Without a manifest the artifact is not there.
"""

import hashlib
import io
import json
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Annotated, Any

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import AfterValidator, BaseModel, ConfigDict, TypeAdapter

from comat_core.files.json_files import LARGE, parse_json
from comat_core.support.errors import UserError
from stages.plan.digests import digest_bytes, digest_json
from stages.store.filesystem import Folder
from stages.store.local_disk import disk_errors_told
from stages.store.locks import Lease

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


class ArtifactWriter:
    """Writes the files of one artifact. `finish` makes it an artifact; before that nobody sees it.

    Args:
        folder: the artifact's folder in the store.
        manifest: the manifest without files, times and library versions, which `finish` fills in.
        held: the lease under which it is written, if any. Once that is lost nothing more is written.
    """

    def __init__(self, folder: Folder, manifest: Mapping[str, Any], held: Lease | None = None) -> None:
        self.held = held
        self._folder = folder
        self._manifest = dict(manifest)
        self._last_write = time.monotonic()
        self._written: list[str] = []
        self._seconds_of_removed = 0.0

    def write_bytes(self, name: str, content: bytes) -> None:
        """Write a file atomically; its checksum follows, and only then the file counts.

        Raises:
            LeaseLostError: another run has taken over the work on the artifact; so do all methods that write.
        """
        self._check()
        now = time.monotonic()
        record = FileRecord(size=len(content), sha256=digest_bytes(content), seconds=round(now - self._last_write, 3))
        self._last_write = now
        self._folder.remove(f"{CHECKSUMS}{name}.json")
        self._folder.write(name, content)
        self._folder.write(f"{CHECKSUMS}{name}.json", record.model_dump_json().encode())
        self._written.append(name)

    def write_json(self, name: str, value: Any) -> None:
        self.write_bytes(name, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False).encode())

    def write_table(self, name: str, table: pa.Table) -> None:
        """Write a Parquet file; `name` ends in .parquet."""
        buffer = io.BytesIO()
        pq.write_table(table, buffer, compression="zstd")
        self.write_bytes(name, buffer.getvalue())

    def write_tensors(self, name: str, tensors: "Mapping[str, Tensor]") -> None:
        """Write a safetensors file; `name` ends in .safetensors. Tensors are moved to the CPU."""
        from safetensors.torch import save

        self.write_bytes(name, save({key: value.detach().cpu().contiguous() for key, value in tensors.items()}))

    def add_folder(self, folder: Path, prefix: str = "") -> None:
        """Copy every file of a local folder, below `prefix` ("lora/")."""
        for path in sorted(path for path in folder.rglob("*") if path.is_file()):
            self.write_bytes(f"{prefix}{path.relative_to(folder).as_posix()}", path.read_bytes())

    def has(self, name: str) -> bool:
        """Whether the file is there and whole. A shard that a kill cut short, or that was damaged since, is not."""
        record = self._record(name)
        try:
            return record is not None and record.describes(self._folder.read(name))
        except FileNotFoundError:
            return False

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Mark the files written inside the block as one part: it is there when all of them are."""
        self._check()
        self._folder.remove(f"{PARTS}{name}.json")
        self._written.clear()
        yield
        self._check()
        self._folder.write(f"{PARTS}{name}.json", json.dumps(sorted(set(self._written))).encode())

    def has_part(self, name: str) -> bool:
        """Whether every file of a part is there and whole."""
        files = names_of_part(self._folder, name)
        return files is not None and all(self.has(file) for file in files)

    def read_bytes(self, name: str) -> bytes:
        """Read back a file written earlier, by this process or one before it."""
        return self._folder.read(name)

    def names(self, prefix: str = "") -> list[str]:
        """Names of the files written so far that begin with `prefix`, sorted."""
        listed = (name for name in self._folder.sizes() if name.startswith(f"{CHECKSUMS}{prefix}"))
        return sorted(name.removeprefix(CHECKSUMS).removesuffix(".json") for name in listed)

    def remove(self, prefix: str) -> None:
        """Remove the files that begin with `prefix`, which are no longer needed; the time they took still counts."""
        self._check()
        for name in self.names(prefix):
            record = self._record(name)
            self._seconds_of_removed += record.seconds if record else 0.0
            self._folder.remove(f"{CHECKSUMS}{name}.json")
            self._folder.remove(name)

    def working_folder(self) -> Path:
        """A local folder that survives a kill, for state that is not part of the artifact; `finish` removes it."""
        return self._folder.working_folder()

    def finish(self) -> Artifact:
        """Write the manifest and return the artifact.

        Raises:
            DamagedArtifactError: a file written earlier has another size now.
        """
        from stages.plan.library_versions import library_versions

        self._check()
        files, sizes = {name: self._record(name) for name in self.names()}, self._folder.sizes()
        for name, record in files.items():
            if record is None or sizes.get(name) != record.size:
                where, problem = f"{self._folder.url}/{name}", "a file changed while the stage ran"
                raise DamagedArtifactError(self._manifest["stage"], where, problem)
        whole = {name: record for name, record in files.items() if record}
        seconds = sum(record.seconds for record in whole.values()) + self._seconds_of_removed
        manifest = Manifest(
            **self._manifest,
            files=whole,
            libraries=library_versions(),
            seconds=round(seconds + time.monotonic() - self._last_write, 3),
            finished_at=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        )
        self._folder.write(MANIFEST, manifest.model_dump_json(indent=2).encode())
        self._folder.remove_working_folder()
        return Artifact(stage=manifest.stage, key=manifest.key, url=self._folder.url)

    def _check(self) -> None:
        if self.held is not None:
            self.held.check()

    def _record(self, name: str) -> FileRecord | None:
        try:
            return FileRecord.model_validate_json(self._folder.read(f"{CHECKSUMS}{name}.json", limit=2**20))
        except (FileNotFoundError, ValueError):
            return None


_FILE_NAMES = TypeAdapter(list[FileName])


def names_of_part(folder: Folder, part: str) -> list[str] | None:
    """The files that a part of an artifact consists of; None if the part is not there, or says something else."""
    try:
        return _FILE_NAMES.validate_json(folder.read(f"{PARTS}{part}.json", limit=LARGEST_MANIFEST))
    except (FileNotFoundError, ValueError):
        return None
