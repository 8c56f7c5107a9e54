"""Files of an artifact as files on this machine's disk, for libraries that map them into memory."""

import secrets
from pathlib import Path

from stages.store.artifacts import Artifact, DamagedArtifactError

Version = tuple[int, int, int]
"""What changes when a file is put in another's place: inode, bytes, time in nanoseconds."""


class LocalFiles:
    """Files of an artifact, each compared with its checksum when it is first asked for, and whenever it has changed.

    Args:
        copies: folder for copies of what lies in a remote store; who makes it removes it. Several processes may share
            it. Files of a store on this machine's disk are taken where they lie.
    """

    def __init__(self, artifact: Artifact, copies: Path) -> None:
        self.artifact = artifact
        self._local = artifact.folder.local
        self._copies = copies
        self._checked: dict[str, Version] = {}

    def path(self, name: str) -> Path:
        """Where the file is now.

        Raises:
            DamagedArtifactError: it is not the one that the stage wrote.
            UserError: the disk is full.
        """
        if name not in self.artifact.manifest.files:
            where = f"{self.artifact.url}/{name}"
            raise DamagedArtifactError(self.artifact.stage, where, "the artifact has no such file")
        return self._copy(name) if self._local is None else self._in_place(self._local, name)

    def _in_place(self, folder: Path, name: str) -> Path:
        path = folder / name
        version = _version(path)
        if version is None or self._checked.get(name) != version:
            self.artifact.check(name)
            if version is not None:  # taken before the look at the content, so that no later change goes unseen
                self._checked[name] = version
        return path

    def _copy(self, name: str) -> Path:
        path = self._copies / name
        if not path.exists():
            unfinished = path.with_name(f".{secrets.token_hex(8)}.partial")
            try:
                self.artifact.copy(name, unfinished)
                unfinished.replace(path)  # by then it is known to be whole
            finally:
                unfinished.unlink(missing_ok=True)
        return path


def _version(path: Path) -> Version | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return (status.st_ino, status.st_size, status.st_mtime_ns)
