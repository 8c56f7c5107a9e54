"""Latents in shards, as the stages that draw or encode them write them: one safetensors file with one tensor each."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from stages.store.artifact_writer import ArtifactWriter
from stages.store.artifacts import DamagedArtifactError
from stages.store.local_files import LocalFiles

if TYPE_CHECKING:
    from torch import Tensor

FOLDER = "latents/"
NAME = "latents"


def shard_file(index: int) -> str:
    """The file of one shard."""
    return f"{FOLDER}{index:05d}.safetensors"


def write_shard(writer: ArtifactWriter, index: int, latents: "Tensor") -> None:
    """Write the latents (N, C, h, w) of one shard."""
    writer.write_tensors(shard_file(index), {NAME: latents})


@dataclass(frozen=True)
class Place:
    """Where one image's latents lie: in which file, as which of its rows."""

    shard: str
    row: int


class StoredLatents:
    """The latents of an artifact, of which only those that are asked for are read.

    A shard is memory-mapped for as long as a row of it is read, and then let go: what training has seen so far counts
    as its memory no longer.
    """

    def __init__(self, files: LocalFiles) -> None:
        self._files = files

    def read(self, places: Sequence[Place]) -> "Tensor":
        """The latents (len(places), C, h, w), in the shards' own precision.

        Raises:
            DamagedArtifactError: a shard is not the one that the stage wrote, or the index names what is not in it.
        """
        import torch

        return torch.stack([read_row(self._files, place.shard, NAME, place.row) for place in places])


def read_row(files: LocalFiles, name: str, tensor: str, row: int) -> "Tensor":
    """One row (C, h, w) of a tensor in a shard, copied out of it.

    Args:
        name: of the shard's file.

    Raises:
        DamagedArtifactError: the shard is not the one that the stage wrote, or has no such row.
    """
    from safetensors import SafetensorError, safe_open

    path = files.path(name)
    try:
        with safe_open(path, framework="pt") as shard:
            return shard.get_slice(tensor)[row].clone()
    except (SafetensorError, OSError, IndexError) as error:
        artifact, problem = files.artifact, f"the latents of row {row} cannot be read"
        raise DamagedArtifactError(artifact.stage, f"{artifact.url}/{name}", problem) from error


def read_back(writer: ArtifactWriter, count: int) -> "Tensor":
    """The latents (N, C, h, w) of so many shards that were written earlier, one after the other."""
    import torch
    from safetensors.torch import load

    return torch.cat([load(writer.read_bytes(shard_file(index)))[NAME] for index in range(count)])
