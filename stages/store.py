"""The store: every artifact under one URL, at <root>/<stage>/<key>/."""

import os
import secrets
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from enum import StrEnum
from typing import Any

from pydantic import BaseModel

from stages.artifacts import MANIFEST, PARTS, Artifact, ArtifactWriter, DamagedArtifactError, InputRecord
from stages.digests import digest_json
from stages.filesystem import Folder
from stages.locks import lease

STORE_VARIABLE = "COMAT_STORE"
"""Environment variable with the store's URL, for commands and workers that are given none."""
BEGUN = ".begun_from"

CHECKED_BYTES = 256 * 2**20
"""Artifacts up to this size are compared with their checksums whenever they are looked up; larger ones by size only,
until their files are read."""


def default_store() -> str:
    """The store of a command or flow run that names none."""
    return os.environ.get(STORE_VARIABLE, "runs")


class Condition(StrEnum):
    """What the store knows about an artifact."""

    CACHED = "cached"
    MISSING = "missing"
    DAMAGED = "damaged"
    OUTDATED = "outdated"  # one of its inputs was recomputed and came out different
    BLOCKED = "blocked"  # a file that its settings name is missing, and so it cannot be told which artifact it is


class Finding(BaseModel):
    """The condition of one artifact; `artifact` is there only when it can be used."""

    condition: Condition
    artifact: Artifact | None = None
    problems: list[str] = []


class Store:
    """All artifacts below a URL.

    Raises:
        UserError: the URL names no file system that fsspec knows.
    """

    def __init__(self, url: str) -> None:
        self.root = Folder(url)
        self.url = self.root.url

    def folder(self, stage: str, key: str) -> Folder:
        return self.root / f"{stage}/{key}"

    def exists(self) -> bool:
        """Whether a run has written anything here."""
        return bool(self.root.subfolders())

    def check_writable(self) -> None:
        """Write and remove a small file, so that a run fails before its work and not after.

        Raises:
            UserError: the store cannot be written.
        """
        probe = f".probe-{secrets.token_hex(8)}"
        self.root.write(probe, b"")
        self.root.remove(probe)

    def writer(
        self, stage: str, key: str, manifest: Mapping[str, Any], inputs: Mapping[str, InputRecord]
    ) -> ArtifactWriter:
        """Begin an artifact, or go on with the files that an earlier run left of it.

        Those are used only if they were made from inputs with the same contents; otherwise they are removed.

        Args:
            manifest: version and config.
        """
        folder = self.folder(stage, key)
        begun_from = digest_json({role: record.model_dump() for role, record in inputs.items()}).encode()
        if not _holds(folder, BEGUN, begun_from):
            with self.lease(stage, key, "begin"):
                if not _holds(folder, BEGUN, begun_from):
                    self.discard(stage, key)
                    folder.write(BEGUN, begun_from)
        return ArtifactWriter(folder, {"stage": stage, "key": key, "inputs": inputs, **manifest})

    def count_parts(self, stage: str, key: str) -> int:
        """How many parts of an artifact have been written so far, whole or not."""
        return sum(name.startswith(PARTS) for name in self.folder(stage, key).sizes())

    def artifact(self, stage: str, key: str) -> Artifact:
        """The reference to an artifact, whether it exists or not."""
        return Artifact(stage=stage, key=key, url=self.folder(stage, key).url)

    def look_up(
        self,
        stage: str,
        key: str,
        inputs: Mapping[str, Artifact] | None = None,
        *,
        check_digests: bool | None = None,
    ) -> Finding:
        """Find an artifact and say whether it can be used.

        Args:
            inputs: the artifacts it should have been made from. One that has other contents now makes it outdated.
            check_digests: compare contents too, not only sizes; None leaves it to the artifact's size.
        """
        artifact = self.artifact(stage, key)
        if MANIFEST not in artifact.folder.sizes():
            return Finding(condition=Condition.MISSING)
        try:
            manifest = artifact.manifest
        except DamagedArtifactError as error:
            return Finding(condition=Condition.DAMAGED, problems=[error.what])
        total = sum(record.size for record in manifest.files.values())
        problems = artifact.problems(check_digests=total <= CHECKED_BYTES if check_digests is None else check_digests)
        if problems:
            return Finding(condition=Condition.DAMAGED, problems=problems)
        if inputs is not None and manifest.inputs != input_records(inputs):
            return Finding(condition=Condition.OUTDATED, problems=["an input was recomputed with other contents"])
        return Finding(condition=Condition.CACHED, artifact=artifact)

    def usable(self, stage: str, key: str, inputs: Mapping[str, Artifact]) -> Artifact | None:
        """The artifact if it can be used. One that is damaged or outdated loses its manifest: it must be rebuilt."""
        finding = self.look_up(stage, key, inputs)
        if finding.condition not in (Condition.DAMAGED, Condition.OUTDATED):
            return finding.artifact
        # Looked up again inside the lease, so that a rebuild finished meanwhile by another run is never retracted.
        with self.lease(stage, key, "begin"):
            finding = self.look_up(stage, key, inputs)
            if finding.artifact is None:
                self.retract(stage, key)
            return finding.artifact

    def retract(self, stage: str, key: str) -> None:
        """Take back the manifest of an artifact: from now on it is not there. Its files stay until it is rebuilt."""
        self.folder(stage, key).remove(MANIFEST)

    def discard(self, stage: str, key: str) -> None:
        """Remove an artifact, its manifest first."""
        self.retract(stage, key)
        self.folder(stage, key).remove_all()

    def lease(
        self, stage: str, key: str, part: str, on_wait: Callable[[], None] | None = None
    ) -> AbstractContextManager[None]:
        """Keep other runs from doing the same part of an artifact at the same time."""
        return lease(self.root / ".leases", f"{stage}-{key}-{part}.json", on_wait)

    def entries(self) -> Iterator[tuple[str, str]]:
        """Stage and key of every folder that is or may become an artifact."""
        for stage in self.root.subfolders():
            if stage.startswith("."):
                continue
            for key in (self.root / stage).subfolders():
                yield stage, key


def input_records(inputs: Mapping[str, Artifact]) -> dict[str, InputRecord]:
    """What a manifest keeps of a stage's inputs, by role."""
    return {
        role: InputRecord(stage=artifact.stage, key=artifact.key, digest=artifact.manifest.digest)
        for role, artifact in sorted(inputs.items())
    }


def _holds(folder: Folder, name: str, content: bytes) -> bool:
    return folder.has(name) and folder.read(name) == content
