"""The tables of the attention stage: their columns, and how others read them.

Per shard `images/00000.parquet`, one row per prompt, and `maps/00000.parquet`, one row per word of them.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import pyarrow as pa

from stages.attention.recording import SIDE, Recording
from stages.attention.words import ChosenPrompt, Word
from stages.store.artifact_writer import ArtifactWriter
from stages.store.artifacts import Artifact
from stages.store.typed_tables import check_columns, read_rows

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

IMAGES: Final = "images/"
MAPS: Final = "maps/"
MAP: Final = "map"
IMAGES_SCHEMA: Final = pa.schema(
    [
        ("prompt_id", pa.string()),
        ("text", pa.string()),
        ("png", pa.binary()),
        ("activations", pa.list_(pa.float32())),
    ]
)
MAPS_SCHEMA: Final = pa.schema(
    [
        ("prompt_id", pa.string()),
        ("word", pa.string()),
        ("role", pa.string()),
        ("tokens", pa.list_(pa.int32())),
        (MAP, pa.list_(pa.float32(), SIDE * SIDE)),
    ]
)


@dataclass(frozen=True)
class ImageRow:
    """A prompt's image, and the share of the attention that each token of the encoder's input has."""

    prompt_id: str
    text: str
    png: bytes
    activations: list[float]


@dataclass(frozen=True)
class WordRow:
    """A word that has a map."""

    prompt_id: str
    word: str
    role: str
    tokens: list[int]


@dataclass(frozen=True)
class RecordedPrompt:
    """A prompt with its words, and what one model made of it."""

    prompt_id: str
    text: str
    words: list[Word]
    recording: Recording


def write_recordings(
    writer: ArtifactWriter, index: int, prompts: Sequence[ChosenPrompt], recordings: Sequence[Recording]
) -> None:
    """Write one shard's images and maps."""
    images = [
        vars(ImageRow(prompt.prompt_id, prompt.text, recording.png, recording.activations))
        for prompt, recording in zip(prompts, recordings, strict=True)
    ]
    maps = [
        {**vars(WordRow(prompt.prompt_id, word.text, word.role, word.tokens)), MAP: heat.reshape(-1)}
        for prompt, recording in zip(prompts, recordings, strict=True)
        for word, heat in zip(prompt.words, recording.maps, strict=True)
    ]
    writer.write_table(f"{IMAGES}{index:05d}.parquet", pa.Table.from_pylist(images, schema=IMAGES_SCHEMA))
    writer.write_table(f"{MAPS}{index:05d}.parquet", pa.Table.from_pylist(maps, schema=MAPS_SCHEMA))


def read_recordings(attention: Artifact) -> Iterator[RecordedPrompt]:
    """Yield the recorded prompts in the order in which they were chosen.

    Raises:
        DamagedArtifactError: a file is not the one that the stage wrote.
    """
    for images in attention.files(IMAGES):
        maps = images.replace(IMAGES, MAPS, 1)
        words = read_rows(attention, maps, WordRow)
        heats = _read_maps(attention, maps)
        for image in read_rows(attention, images, ImageRow):
            own = [number for number, word in enumerate(words) if word.prompt_id == image.prompt_id]
            yield RecordedPrompt(
                image.prompt_id,
                image.text,
                [Word(words[number].word, words[number].role, words[number].tokens) for number in own],
                Recording(image.png, [heats[number] for number in own], image.activations),
            )


def _read_maps(attention: Artifact, name: str) -> "NDArray[np.float32]":
    """The maps of one shard, (words, SIDE, SIDE)."""
    table = attention.read_table(name)
    check_columns(attention, name, table.schema, [MAP])
    return table[MAP].combine_chunks().flatten().to_numpy().reshape(-1, SIDE, SIDE)
