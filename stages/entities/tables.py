"""The table of the entities stage: its columns, and how others read it."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import pyarrow as pa

from stages.store.artifacts import Artifact
from stages.store.streamed_tables import stream_rows

ENTITIES: Final = "entities.parquet"
_SPAN: Final = pa.list_(pa.int32(), 2)
ENTITIES_SCHEMA: Final = pa.schema(
    [
        ("prompt_id", pa.string()),
        ("noun", pa.string()),
        ("attributes", pa.list_(pa.string())),
        ("noun_span", _SPAN),
        ("attribute_spans", pa.list_(_SPAN)),
        ("noun_tokens", pa.list_(pa.int32())),
        ("attribute_tokens", pa.list_(pa.int32())),
        ("kept", pa.bool_()),
        ("removed_because", pa.string()),
    ]
)


@dataclass(frozen=True, kw_only=True)
class EntityWords:
    """An entity's noun and attributes as the prompt spells them, and their positions in the encoder's input."""

    noun: str
    attributes: list[str]
    noun_tokens: list[int]
    attribute_tokens: list[int]
    kept: bool

    @property
    def is_seen(self) -> bool:
        """Whether attributes are to concentrate on it: it was kept, and the text encoder sees its noun."""
        return self.kept and bool(self.noun_tokens)


@dataclass(frozen=True, kw_only=True)
class AlignedEntity(EntityWords):
    """All that the stage finds of an entity, spans in characters of the prompt."""

    noun_span: tuple[int, int]
    attribute_spans: tuple[tuple[int, int], ...]
    removed_because: str | None


@dataclass(frozen=True, kw_only=True)
class EntityRow(EntityWords):
    """An entity with its prompt."""

    prompt_id: str


def read_seen_entities(entities: Artifact) -> dict[str, list[EntityRow]]:
    """Prompt id -> its entities that were kept and whose noun the text encoder sees, in the prompt's order.

    Raises:
        DamagedArtifactError: the table is not what the stage wrote.
    """
    found: dict[str, list[EntityRow]] = {}
    for entity in stream_seen_entities(entities):
        found.setdefault(entity.prompt_id, []).append(entity)
    return found


def stream_seen_entities(entities: Artifact) -> Iterator[EntityRow]:
    """The entities of `read_seen_entities` in the order of their table, of which only a few are in memory at a time."""
    rows = stream_rows(entities, ENTITIES, EntityRow, {"kept": [True]})
    return (entity for entity in rows if entity.is_seen)
