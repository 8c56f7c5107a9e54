"""Latents in shards, as the stages that draw or encode them write them: one safetensors file with one tensor each."""

from typing import TYPE_CHECKING

from stages.store.artifacts import Artifact, ArtifactWriter

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


def read_shards(artifact: Artifact) -> "dict[str, Tensor]":
    """File -> its latents (N, C, h, w), of all shards.

    Raises:
        DamagedArtifactError: a file is not the one that the stage wrote.
    """
    return {file: artifact.read_tensors(file)[NAME] for file in artifact.files(FOLDER)}


def read_back(writer: ArtifactWriter, count: int) -> "Tensor":
    """The latents (N, C, h, w) of so many shards that were written earlier, one after the other."""
    import torch
    from safetensors.torch import load

    return torch.cat([load(writer.read_bytes(shard_file(index)))[NAME] for index in range(count)])
