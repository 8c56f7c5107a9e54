"""How a stage leaves its files behind, so that a kill costs no more than the file in hand.

Each file is written atomically with its checksum beside it, and a stage that was killed goes on where it stopped;
`finish` writes `manifest.json` last. Without a manifest the artifact is not there.
"""

import io
import json
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import BaseModel, TypeAdapter

from stages.plan.digests import digest_bytes
from stages.store.artifact_parts import written_record
from stages.store.artifacts import (
    CHECKSUMS,
    LARGEST_MANIFEST,
    MANIFEST,
    PARTS,
    Artifact,
    DamagedArtifactError,
    FileName,
    FileRecord,
    Manifest,
)
from stages.store.filesystem import Folder
from stages.store.locks import Lease

if TYPE_CHECKING:
    from torch import Tensor


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
        record = written_record(self._folder, name)
        try:
            return record is not None and record.describes(self._folder.read(name))
        except FileNotFoundError:
            return False

    @contextmanager
    def part(self, name: str, made_from: str | None = None) -> Iterator[None]:
        """Mark the files written inside the block as one part: it is there when all of them are.

        Args:
            made_from: digest of what is read for this part alone, if the artifact's other parts need no more be made
                anew when that changes.
        """
        self._check()
        self._folder.remove(f"{PARTS}{name}.json")
        self._written.clear()
        yield
        self._check()
        files = sorted(set(self._written))
        content = files if made_from is None else {"files": files, "made_from": made_from}
        self._folder.write(f"{PARTS}{name}.json", json.dumps(content).encode())

    def has_part(self, name: str, made_from: str | None = None) -> bool:
        """Whether every file of a part is there and whole, and made from what is given."""
        part = _read_part(self._folder, name)
        files, source = (part.files, part.made_from) if isinstance(part, _Part) else (part, None)
        return files is not None and source == made_from and all(self.has(file) for file in files)

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
            record = written_record(self._folder, name)
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
        files, sizes = {name: written_record(self._folder, name) for name in self.names()}, self._folder.sizes()
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


class _Part(BaseModel):
    """The files of a part that is compared with what it was made from."""

    files: list[FileName]
    made_from: str


_PART = TypeAdapter(_Part | list[FileName])


def names_of_part(folder: Folder, part: str) -> list[str] | None:
    """The files that a part of an artifact consists of; None if the part is not there, or says something else."""
    found = _read_part(folder, part)
    return found.files if isinstance(found, _Part) else found


def _read_part(folder: Folder, part: str) -> _Part | list[str] | None:
    try:
        return _PART.validate_json(folder.read(f"{PARTS}{part}.json", limit=LARGEST_MANIFEST))
    except (FileNotFoundError, ValueError):
        return None
