"""Safetensors files with notes in their header, the same bytes each time."""

import json
from collections.abc import Mapping
from pathlib import Path

from safetensors import safe_open
from safetensors.torch import load_file, save
from torch import Tensor

ALIGNMENT = 8
"""Bytes: where the format wants the tensors to begin."""


def save_with_metadata(tensors: Mapping[str, Tensor], path: Path, metadata: Mapping[str, str]) -> None:
    """Write tensors, with the metadata in alphabetical order; the library alone would shuffle it."""
    plain = save({name: tensor.contiguous() for name, tensor in tensors.items()})
    header_end = 8 + int.from_bytes(plain[:8], "little")
    header = {"__metadata__": dict(sorted({"format": "pt", **metadata}.items())), **json.loads(plain[8:header_end])}
    encoded = json.dumps(header, separators=(",", ":")).encode()
    encoded += b" " * (-len(encoded) % ALIGNMENT)
    path.write_bytes(len(encoded).to_bytes(8, "little") + encoded + plain[header_end:])


def add_metadata(path: Path, metadata: Mapping[str, str]) -> None:
    """Put further notes into a file's header, beside or in the place of those that it has."""
    save_with_metadata(load_file(path), path, {**read_metadata(path), **metadata})


def read_metadata(path: Path) -> dict[str, str]:
    """Read the notes in a file's header."""
    with safe_open(path, framework="pt") as file:
        return file.metadata() or {}
