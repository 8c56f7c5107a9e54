"""Checksums of files, as the registry notes them: an algorithm and a hexadecimal digest."""

import hashlib
from pathlib import Path

from comat_core.files.regular_files import opened_file
from comat_core.support.errors import UserError

BLOCK = 1 << 20  # bytes


def verify(path: Path, checksum: str | None, remedy: str) -> None:
    """Compare a file with its checksum; a set without one passes.

    Raises:
        UserError: the file differs.
    """
    found = difference(path, checksum)
    if found is not None:
        raise UserError(f"the file is not the one that the registry knows: {found}", str(path), remedy)


def difference(path: Path, checksum: str | None) -> str | None:
    """How a file differs from its checksum, for a message; None if it does not, or if there is none to compare."""
    if checksum is None:
        return None
    algorithm, _, expected = checksum.partition(":")
    found = file_digest(path, algorithm)
    return None if found == expected else f"{algorithm} {found[:12]}… instead of {expected[:12]}…"


def file_digest(path: Path, algorithm: str) -> str:
    """Hexadecimal digest of a file; "git-blob" is SHA-1 over git's header and the content.

    Raises:
        UserError: it cannot be read, or is no regular file.
    """
    digest = hashlib.new("sha1" if algorithm == "git-blob" else algorithm)
    with opened_file(path, "file") as file:
        if algorithm == "git-blob":
            digest.update(f"blob {path.stat().st_size}\0".encode())
        while block := file.read(BLOCK):
            digest.update(block)
    return digest.hexdigest()
