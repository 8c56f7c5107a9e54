"""The tables of the prompts stage: their columns, and how others read them."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass, fields
from typing import Final

import pyarrow as pa

from comat_core.support.errors import UserError
from stages.plan.splits import TRAIN
from stages.store.artifacts import Artifact
from stages.store.streamed_tables import count_rows, stream_part, stream_rows
from stages.store.typed_tables import read_rows

PROMPTS: Final = "prompts.parquet"
SEEN_IN_TRAINING: Final = "seen_in_training.parquet"


@dataclass(frozen=True)
class PromptText:
    """What there is to draw."""

    prompt_id: str
    text: str


@dataclass(frozen=True)
class PromptRow(PromptText):
    """One prompt with where it comes from, what it tests and what it is for."""

    source: str
    skill: str
    split: str


@dataclass(frozen=True)
class SeenPrompt:
    """An evaluation prompt that a training source holds, before any draw and any guard."""

    prompt_id: str
    split: str
    source: str
    training_source: str


PROMPTS_SCHEMA: Final = pa.schema([(field.name, pa.string()) for field in fields(PromptRow)])
SEEN_SCHEMA: Final = pa.schema([(field.name, pa.string()) for field in fields(SeenPrompt)])


def read_prompts(prompts: Artifact, splits: Collection[str] | None = None) -> list[PromptRow]:
    """The prompts in the order of their table.

    Args:
        splits: those that are read; None for all.

    Raises:
        DamagedArtifactError: the table is not what the stage wrote; so do all readers.
    """
    return list(stream_rows(prompts, PROMPTS, PromptRow, None if splits is None else {"split": splits}))


def read_texts(prompts: Artifact, split: str) -> list[PromptText]:
    """A split's prompts, as `read_prompts` gives them, without what drawing them does not need."""
    return list(stream_texts(prompts, split))


def read_training_texts(prompts: Artifact, stage: str) -> list[PromptText]:
    """The training prompts.

    Args:
        stage: who asks.

    Raises:
        UserError: there are none.
    """
    found = read_texts(prompts, TRAIN)
    _check_that_there_are_any(len(found), stage)
    return found


def count_training_prompts(prompts: Artifact, stage: str) -> int:
    """How many prompts `read_training_texts` would give, without reading their texts.

    Raises:
        UserError: none.
    """
    count = count_rows(prompts, PROMPTS, {"split": [TRAIN]})
    _check_that_there_are_any(count, stage)
    return count


def _check_that_there_are_any(count: int, stage: str) -> None:
    if count == 0:
        raise UserError("there is no training prompt", stage, "check the settings of the prompts stage")


def stream_texts(prompts: Artifact, split: str | None = None) -> Iterator[PromptText]:
    """The prompts of a split, or of all of them, of which only a few are in memory at a time."""
    return stream_rows(prompts, PROMPTS, PromptText, None if split is None else {"split": [split]})


def read_part_of_texts(prompts: Artifact, split: str, part: range) -> list[PromptText]:
    """The prompts of a split by their numbers in its order, from those row groups of the table that hold them."""
    return list(stream_part(prompts, PROMPTS, PromptText, part, {"split": [split]}))


def count_prompts(prompts: Artifact) -> int:
    """How many prompts there are, without reading them."""
    return count_rows(prompts, PROMPTS)


def read_seen_in_training(prompts: Artifact) -> list[SeenPrompt]:
    """The evaluation prompts that the training sources hold."""
    return read_rows(prompts, SEEN_IN_TRAINING, SeenPrompt)
