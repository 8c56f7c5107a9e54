"""Where diffusers' layers stand in a model's original release, whose names other tools' LoRA files follow."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

QKV: Final = ("q", "k", "v")


@dataclass(frozen=True)
class OriginalLayer:
    """The layer of the original release that holds one of diffusers' layers, alone or beside others."""

    name: str
    """As other tools spell it, with underscores."""
    first_share: int = 0
    shares: int = 1
    """The original layer's outputs in equal shares, and the first that this layer makes: 1 of 3 for the keys in qkv."""


def fused(name: str, part: str) -> OriginalLayer:
    """Queries, keys or values ("q", "k", "v") of a layer that makes all three."""
    return OriginalLayer(name, QKV.index(part), len(QKV))


def renamed(layer: str, prefixes: Mapping[str, str], suffixes: Sequence[tuple[str, str, str]]) -> OriginalLayer | None:
    """Translate a name by what it begins and ends with.

    Args:
        layer: "transformer_blocks.3.attn.to_q".
        prefixes: name of the list of blocks -> its original name.
        suffixes: (end of the name, original end, "q", "k", "v" or "" for a layer of its own).

    Returns:
        None for a layer that is not named.
    """
    blocks, number, end = layer.split(".", maxsplit=2)
    for suffix, original, part in suffixes:
        if blocks in prefixes and end == suffix:
            name = f"{prefixes[blocks]}_{number}_{original}"
            return fused(name, part) if part else OriginalLayer(name)
    return None
