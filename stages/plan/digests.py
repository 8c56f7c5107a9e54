"""Digests: the project's one way to name contents."""

import hashlib
import json
from pathlib import Path
from typing import Any

from comat_core.files.regular_files import opened_file


def digest_bytes(content: bytes) -> str:
    """The sha256 of some bytes, in hexadecimal."""
    return hashlib.sha256(content).hexdigest()


def digest_json(value: Any) -> str:
    """The sha256 of a JSON value, the same whatever the order of its keys."""
    canonical = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return digest_bytes(canonical.encode())


def digest_file(path: Path) -> str:
    """The sha256 of a file's content.

    Raises:
        UserError: it cannot be read, or is no regular file.
    """
    with opened_file(path, "file") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()  # type: ignore[arg-type]
