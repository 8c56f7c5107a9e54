"""The store: every artifact under one URL, at <root>/<stage>/<key>/."""

import os
import re
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from enum import StrEnum
from typing import Any

from pydantic import BaseModel

from stages.plan.digests import digest_json
from stages.store.artifact_writer import ArtifactWriter
from stages.store.artifacts import MANIFEST, PARTS, Artifact, DamagedArtifactError, InputRecord
from stages.store.filesystem import Folder, store_errors_told
from stages.store.locks import POLL_SECONDS, Lease, is_live, lease, live_ones
from stages.store.own_files import BEGUN, remove_artifact

STORE_VARIABLE = "COMAT_STORE"
"""Environment variable with the store's URL, for commands and workers that are given none."""

MARKER = ".comat-store"
"""A file that tells a store from any other folder; whatever removes things looks for it first."""
LEASES = ".leases"
KEY = re.compile(r"[0-9a-f]{24}")
DISCARD = "discard"
"""The lease under which an artifact is removed; nobody works on the artifact while it is held."""

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
        """Whether a run has written anything here.

        Raises:
            UserError: this is nothing that could be read as a store.
        """
        with store_errors_told(self.url):
            return bool(self.root.subfolders())

    def is_marked(self) -> bool:
        """Whether a run has made this folder its store."""
        return self.root.has(MARKER)

    def mark(self) -> None:
        """Make this folder a store, so that a run fails before its work and not after if it cannot be written.

        Raises:
            UserError: the store cannot be written.
        """
        with store_errors_told(self.url):
            self.root.write(MARKER, b"comat\n")
        self.root.check_working_folder()

    def writer(
        self,
        stage: str,
        key: str,
        manifest: Mapping[str, Any],
        inputs: Mapping[str, InputRecord],
        held: Lease | None = None,
        compared_by_part: Collection[str] = (),
    ) -> ArtifactWriter:
        """Begin an artifact, or go on with the files that an earlier run left of it.

        Those are used only if they were made from inputs with the same contents; otherwise they are removed.

        Args:
            manifest: version and config.
            held: the lease under which it is written, if any; nothing more is written once that is lost.
            compared_by_part: roles of inputs of which each part says by itself what it was made from.
        """
        folder = self.folder(stage, key)
        compared = {role: record.model_dump() for role, record in inputs.items() if role not in compared_by_part}
        begun_from = digest_json(compared).encode()
        if not _holds(folder, BEGUN, begun_from):
            with self._inner_lease(stage, key):
                if not _holds(folder, BEGUN, begun_from):
                    self.discard(stage, key)
                    folder.write(BEGUN, begun_from)
        return ArtifactWriter(folder, {"stage": stage, "key": key, "inputs": inputs, **manifest}, held)

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
        version: int | None = None,
        check_digests: bool | None = None,
    ) -> Finding:
        """Find an artifact and say whether it can be used.

        Args:
            version: of the stage, which the manifest must name too.
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
        if version is not None and manifest.version != version:
            problem = f"it was made by version {manifest.version} of the stage"
            return Finding(condition=Condition.DAMAGED, problems=[problem])
        total = sum(record.size for record in manifest.files.values())
        problems = artifact.problems(check_digests=total <= CHECKED_BYTES if check_digests is None else check_digests)
        if problems:
            return Finding(condition=Condition.DAMAGED, problems=problems)
        if inputs is not None and manifest.inputs != input_records(inputs):
            return Finding(condition=Condition.OUTDATED, problems=["an input was recomputed with other contents"])
        return Finding(condition=Condition.CACHED, artifact=artifact)

    def usable(
        self, stage: str, key: str, inputs: Mapping[str, Artifact], version: int | None = None
    ) -> Artifact | None:
        """The artifact if it can be used. One that is damaged or outdated loses its manifest: it must be rebuilt."""
        finding = self.look_up(stage, key, inputs, version=version)
        if finding.condition not in (Condition.DAMAGED, Condition.OUTDATED):
            return finding.artifact
        # Looked up again inside the lease, so that a rebuild finished meanwhile by another run is never retracted.
        with self._inner_lease(stage, key):
            finding = self.look_up(stage, key, inputs, version=version)
            if finding.artifact is None:
                self.retract(stage, key)
            return finding.artifact

    def retract(self, stage: str, key: str) -> None:
        """Take back the manifest of an artifact: from now on it is not there. Its files stay until it is rebuilt."""
        self.folder(stage, key).remove(MANIFEST)

    def discard(self, stage: str, key: str) -> None:
        """Remove an artifact that is about to be built, its manifest first. The caller holds a lease on it."""
        self.retract(stage, key)
        remove_artifact(self.folder(stage, key))

    def discard_idle(self, stage: str, key: str) -> bool:
        """Remove an artifact unless somebody works on it, and return whether it was removed."""
        with lease(self.root / LEASES, _lease_name(stage, key, DISCARD)) as held:
            # New work on it waits from here on.
            if self.is_worked_on(stage, key):
                return False
            held.check()
            self.discard(stage, key)
            return True

    def is_worked_on(self, stage: str, key: str) -> bool:
        """Whether a run holds a lease on any part of an artifact."""
        folder, prefix, discarding = self.root / LEASES, _lease_name(stage, key, ""), _lease_name(stage, key, DISCARD)
        names = {name for name in folder.sizes() if name.startswith(prefix) and name.endswith(LEASE_ENDING)}
        return bool(live_ones(folder, names - {discarding}))

    @contextmanager
    def lease(self, stage: str, key: str, part: str, on_wait: Callable[[], None] | None = None) -> Iterator[Lease]:
        """Keep other runs from doing the same part of an artifact at the same time, or removing it meanwhile."""
        folder, discarding = self.root / LEASES, _lease_name(stage, key, DISCARD)
        while True:
            with lease(folder, _lease_name(stage, key, part), on_wait) as held:
                if not (folder.has(discarding) and is_live(folder, discarding)):
                    yield held
                    return
            time.sleep(POLL_SECONDS)

    def _inner_lease(self, stage: str, key: str) -> AbstractContextManager[Lease]:
        """For the moment in which leftovers go. Its holder may hold others, which a removal waits for already."""
        return lease(self.root / LEASES, _lease_name(stage, key, "begin"))

    def entries(self, stages: Collection[str]) -> Iterator[tuple[str, str]]:
        """Stage and key of every folder that is or may become an artifact of one of these stages."""
        for stage in self.root.subfolders():
            if stage in stages:
                yield from ((stage, key) for key in (self.root / stage).subfolders() if KEY.fullmatch(key))


LEASE_ENDING = ".json"


def _lease_name(stage: str, key: str, part: str) -> str:
    return f"{stage}-{key}-{part}{LEASE_ENDING if part else ''}"


def input_records(inputs: Mapping[str, Artifact]) -> dict[str, InputRecord]:
    """What a manifest keeps of a stage's inputs, by role."""
    return {
        role: InputRecord(stage=artifact.stage, key=artifact.key, digest=artifact.manifest.digest)
        for role, artifact in sorted(inputs.items())
    }


def _holds(folder: Folder, name: str, content: bytes) -> bool:
    return folder.has(name) and folder.read(name) == content
