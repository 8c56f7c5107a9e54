"""What the files of a checkpoint say, read before anything of it is loaded: its configs, and which weights it has.

Nothing here imports a model library, so that a mistake can be told at once.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any, Final

from comat_core.files.json_files import read_json
from comat_core.files.paths import file_exists, folder_exists
from comat_core.support.errors import UserError

FP16: Final = "fp16"
"""The variant that is taken where there are no other weights."""

DIFFUSERS_STEM, TRANSFORMERS_STEM = "diffusion_pytorch_model", "model"
_OTHER_FORMATS: Final = {".bin", ".ckpt", ".pt", ".pth", ".msgpack", ".h5", ".onnx", ".safetensors", ".gguf"}
_CONVERT: Final = "save it again in safetensors, as `save_pretrained` does, or name a revision that has them"

_RUNS_KERNELS: Final = re.compile(r"_?(attn|experts)_implementation(_internal)?")
"""Settings that may name a hub repository of compiled code."""


def read_config(path: Path, *, infinities: bool = False) -> dict[str, Any]:
    """Read a JSON file that has to hold an object.

    Args:
        infinities: whether Infinity and -Infinity are taken.

    Raises:
        UserError: it is missing, is no plain file, or holds something else.
    """
    if not file_exists(path):
        raise UserError(f"there is no {path.name}", str(path.parent), "give the folder of a saved model")
    return read_json(path, "config", shape="object", advice="get the checkpoint again", infinities=infinities)


def refuse_foreign_kernels(config: Mapping[str, Any], where: str) -> None:
    """Refuse a model's config that asks for compiled code of the hub.

    Raises:
        UserError: it does.
    """
    for name, value in _settings(config):
        if _RUNS_KERNELS.fullmatch(name) and any(sign in str(value) for sign in "/:@"):
            problem = f"the model's config asks for code of the hub: {name} {value}"
            raise UserError(problem, where, f"remove {name} from its config.json")


@dataclass(frozen=True)
class Network:
    """One model that lies in a folder of its own."""

    name: str
    """For the reader: "its unet"."""
    folder: Path
    stems: tuple[str, ...]
    """What the names of its weights may begin with."""
    reads_pickles: bool = False
    """Whether torch's own files are read too, nothing but tensors being taken from them."""


def weights_variant(network: Network) -> str | None:
    """Say which of a model's weights are to be read: None for the plain ones, or "fp16" if there are no others.

    Raises:
        UserError: it has neither, or not all of their files.
    """
    if not folder_exists(network.folder):
        raise UserError(f"{network.name} is missing", str(network.folder), "give a folder that `save_pretrained` wrote")
    for variant in (None, FP16):
        if _has_weights(network, variant):
            return variant
    problem = f"{network.name} has no safetensors weights{_what_else(network.folder)}"
    raise UserError(problem, str(network.folder), _CONVERT)


def pipeline_variant(networks: Sequence[Network]) -> str | None:
    """Say the same of a whole pipeline: "fp16", wherever there are such weights, if one network has no others.

    Raises:
        UserError: one of them has no weights that are read.
    """
    return FP16 if FP16 in [weights_variant(network) for network in networks] else None


def variant_in_pipeline(network: Network, of_pipeline: str | None) -> str | None:
    """What a pipeline's variant means for one of its networks, which may have plain weights alone."""
    return of_pipeline if _has_weights(network, of_pipeline) else None


def _has_weights(network: Network, variant: str | None) -> bool:
    endings = [".safetensors", ".bin"] if network.reads_pickles else [".safetensors"]
    for stem, ending in product(network.stems, endings):
        file = ("pytorch_model" if ending == ".bin" else stem) + ending
        if file_exists(network.folder / _with_variant(file, variant)):
            return True
        index = network.folder / _with_variant(f"{file}.index.json", variant)
        if file_exists(index):
            _check_shards(index, network.name)
            return True
    return False


def _with_variant(file: str, variant: str | None) -> str:
    """Put a variant where the libraries have it: before the last suffix."""
    stem, _, suffix = file.rpartition(".")
    return file if variant is None else f"{stem}.{variant}.{suffix}"


def _check_shards(index: Path, name: str) -> None:
    """Make sure that every file that an index names lies beside it."""
    shards = read_config(index).get("weight_map")
    if not isinstance(shards, dict) or not all(isinstance(shard, str) for shard in shards.values()):
        raise UserError(f"the index of {name}'s weights is damaged", str(index), "get the checkpoint again")
    for shard in sorted(set(shards.values())):
        if Path(shard).name != shard or not file_exists(index.parent / shard):
            raise UserError(f"{name} lacks {shard}, a part of its weights", str(index.parent), "get it again, whole")


def _what_else(folder: Path) -> str:
    """The weights that a folder has instead."""
    found = sorted(file.name for file in folder.iterdir() if file.suffix in _OTHER_FORMATS)
    return f", only {found[0]}, which is not read" if found else ""


def _settings(config: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """All settings of a config, those of its parts included."""
    for name, value in config.items():
        yield name, value
        if isinstance(value, dict):
            yield from _settings(value)
