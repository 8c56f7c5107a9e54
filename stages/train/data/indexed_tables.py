"""The tables that training is made from, in one file in which any row is found without reading the others.

Parquet files are read from front to back; a training step wants a few rows from anywhere. The file is SQLite's, made
anew by every run from its inputs, and of it no more than a few pages are ever in memory.
"""

import json
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import stages.latents.tables as latents_tables
import stages.pairs.tables as pairs_tables
from comat_core.losses.attribute_concentration import EntityTokens
from comat_core.support.errors import UserError
from stages.entities.tables import stream_seen_entities
from stages.plan.splits import TRAIN
from stages.progress import progress_bar
from stages.prompts.tables import stream_texts
from stages.store.artifacts import Artifact, DamagedArtifactError
from stages.store.latent_shards import Place
from stages.store.streamed_tables import in_batches

ROWS_AT_A_TIME = 4096
_TABLES = """
CREATE TABLE prompt (prompt_id TEXT NOT NULL, text TEXT NOT NULL);
CREATE TABLE entity (prompt_id TEXT NOT NULL, noun TEXT NOT NULL, tokens TEXT NOT NULL);
CREATE TABLE reference (number INTEGER PRIMARY KEY, prompt_id TEXT NOT NULL, trajectory_seed INTEGER NOT NULL,
    shard TEXT NOT NULL, row INTEGER NOT NULL);
CREATE TABLE pair (number INTEGER PRIMARY KEY, pair_id TEXT NOT NULL, caption TEXT NOT NULL,
    shard TEXT NOT NULL, row INTEGER NOT NULL);
"""
_INDICES = """
CREATE INDEX prompt_by_id ON prompt (prompt_id);
CREATE INDEX entity_by_prompt ON entity (prompt_id);
"""
_WITHOUT_TEXT = """
SELECT prompt_id FROM reference WHERE NOT EXISTS
    (SELECT 1 FROM prompt WHERE prompt.prompt_id = reference.prompt_id) LIMIT 1
"""


@dataclass(frozen=True)
class PromptEntry:
    """A training prompt, and where its reference latents lie."""

    text: str
    entities: tuple[EntityTokens, ...]
    trajectory_seed: int
    place: Place


@dataclass(frozen=True)
class PairEntry:
    """A real pair, and where its image's latents lie."""

    pair_id: str
    caption: str
    place: Place


def write_indexed_tables(inputs: Mapping[str, Artifact], path: Path) -> None:
    """Read the tables of the stages prompts, entities, latents and pairs once, a few rows at a time.

    Raises:
        UserError: there is no training prompt, or the disk is full.
        DamagedArtifactError: a table is not what its stage wrote.
    """
    path.unlink(missing_ok=True)
    try:
        with closing(sqlite3.connect(path, isolation_level=None)) as file:
            # Nothing here outlives the run: a file that a kill cuts short is made anew.
            file.executescript("PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF;" + _TABLES)
            file.execute("BEGIN")
            for statement, rows in progress_bar(_batches(inputs), "Training data, tables"):
                file.executemany(statement, rows)
            file.execute("COMMIT")
            file.executescript(_INDICES)
            _check(file, inputs)
    except sqlite3.OperationalError as error:
        raise UserError(
            f"cannot write training's tables: {error}", str(path), "free some space and run again"
        ) from error


class IndexedTables:
    """What `write_indexed_tables` wrote, for processes that share it."""

    def __init__(self, path: Path) -> None:
        self._file = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)
        self.prompts, self.pairs = (self._count(table) for table in ("reference", "pair"))

    def prompt(self, number: int) -> PromptEntry:
        """A training prompt by its place in the order of the latents' index."""
        prompt_id, seed, shard, row = self._file.execute(
            "SELECT prompt_id, trajectory_seed, shard, row FROM reference WHERE number = ?", (number,)
        ).fetchone()
        (text,) = self._file.execute("SELECT text FROM prompt WHERE prompt_id = ?", (prompt_id,)).fetchone()
        entities = self._file.execute(
            "SELECT noun, tokens FROM entity WHERE prompt_id = ? ORDER BY rowid", (prompt_id,)
        ).fetchall()
        return PromptEntry(text, tuple(_entity(*found) for found in entities), seed, Place(shard, row))

    def pair(self, number: int) -> PairEntry:
        """A pair by its place in the order of the pairs' index."""
        pair_id, caption, shard, row = self._file.execute(
            "SELECT pair_id, caption, shard, row FROM pair WHERE number = ?", (number,)
        ).fetchone()
        return PairEntry(pair_id, caption, Place(shard, row))

    def longest_texts(self, count: int) -> list[str]:
        """The longest texts of training prompts, the longest first."""
        return self._longest("SELECT text FROM reference JOIN prompt USING (prompt_id)", "text", count)

    def longest_captions(self, count: int) -> list[str]:
        """The longest captions of pairs, the longest first."""
        return self._longest("SELECT caption FROM pair", "caption", count)

    def _longest(self, query: str, column: str, count: int) -> list[str]:
        found = self._file.execute(f"{query} ORDER BY length({column}) DESC LIMIT ?", (count,))
        return [text for (text,) in found]

    def _count(self, table: str) -> int:
        (count,) = self._file.execute(f"SELECT count(*) FROM {table}").fetchone()
        return count


def _batches(inputs: Mapping[str, Artifact]) -> Iterator[tuple[str, list[tuple[str | int, ...]]]]:
    """Statements with the rows that they insert."""
    streams: dict[str, Iterator[tuple[str | int, ...]]] = {
        "INSERT INTO prompt VALUES (?, ?)": (
            (one.prompt_id, one.text) for one in stream_texts(inputs["prompts"], TRAIN)
        ),
        "INSERT INTO entity VALUES (?, ?, ?)": (
            (one.prompt_id, one.noun, json.dumps([one.noun_tokens, one.attribute_tokens]))
            for one in stream_seen_entities(inputs["entities"])
        ),
        "INSERT INTO reference VALUES (?, ?, ?, ?, ?)": (
            (number, one.prompt_id, one.trajectory_seed, one.shard, one.row)
            for number, one in enumerate(latents_tables.stream_index(inputs["latents"]))
        ),
        "INSERT INTO pair VALUES (?, ?, ?, ?, ?)": (
            (number, one.pair_id, one.caption, one.shard, one.row)
            for number, one in enumerate(pairs_tables.stream_index(inputs["pairs"]))
        ),
    }
    for statement, rows in streams.items():
        for batch in in_batches(rows, ROWS_AT_A_TIME):
            yield statement, batch


def _check(file: sqlite3.Connection, inputs: Mapping[str, Artifact]) -> None:
    """Make sure that there is something to train on, and that the tables fit together."""
    if file.execute("SELECT 1 FROM prompt LIMIT 1").fetchone() is None:
        raise UserError("there is no training prompt", "train", "check the settings of the prompts stage")
    lacking = file.execute(_WITHOUT_TEXT).fetchone()
    if lacking is not None:
        latents = inputs["latents"]
        problem = f"the index names the prompt {lacking[0]!r}, which is none of training's"
        raise DamagedArtifactError(latents.stage, f"{latents.url}/{latents_tables.INDEX}", problem)


def _entity(noun: str, tokens: str) -> EntityTokens:
    noun_tokens, attribute_tokens = json.loads(tokens)
    return EntityTokens(noun, tuple(noun_tokens), tuple(attribute_tokens))
