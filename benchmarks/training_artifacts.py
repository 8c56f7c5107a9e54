"""Artifacts as the stages before training write them, of as many made-up prompts as one likes."""

from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import torch

from comat_core.support.randomness import derive_seed, make_generator
from data.miniature_world.vocabulary import COLOURS, SHAPES
from stages.entities.tables import ENTITIES, ENTITIES_SCHEMA
from stages.latents.tables import INDEX as LATENTS_INDEX
from stages.latents.tables import INDEX_SCHEMA
from stages.pairs.tables import INDEX as PAIRS_INDEX
from stages.plan.digests import digest_bytes
from stages.plan.splits import TEST, TRAIN
from stages.prompts.mixture import in_batches
from stages.prompts.tables import PROMPTS, PROMPTS_SCHEMA
from stages.store.artifact_writer import ArtifactWriter
from stages.store.artifacts import Artifact
from stages.store.latent_shards import shard_file, write_shard
from stages.store.store import Store
from stages.store.streamed_tables import write_streamed_table

ROWS_AT_A_TIME = 8192
Shape = tuple[int, int, int]


def made_up_inputs(store: Store, prompts: int, pairs: int, latent_shape: Shape, shard_size: int) -> dict[str, Artifact]:
    """The train stage's inputs.

    Args:
        latent_shape: (C, h, w) of the base model.
        shard_size: latents of one shard.
    """
    writers = {
        role: store.writer(role, f"{prompts:024x}", {"version": 1, "config": {}}, {})
        for role in ("prompts", "entities", "latents", "pairs")
    }
    _write(writers["prompts"], PROMPTS, PROMPTS_SCHEMA, _prompt_rows(prompts))
    _write(writers["entities"], ENTITIES, ENTITIES_SCHEMA, _entity_rows(prompts))
    _write_latents(writers["latents"], prompts, latent_shape, shard_size)
    # In one row group, as the stage writes it.
    index = [
        {"prompt_id": _prompt_id(row), "trajectory_seed": derive_seed(0, "noise", row), **_place(row, shard_size)}
        for row in range(prompts)
    ]
    writers["latents"].write_table(LATENTS_INDEX, pa.Table.from_pylist(index, schema=INDEX_SCHEMA))
    _write_latents(writers["pairs"], pairs, latent_shape, shard_size)
    captions = [{"pair_id": f"pair-{row}", "caption": _text(row), **_place(row, shard_size)} for row in range(pairs)]
    writers["pairs"].write_table(PAIRS_INDEX, pa.Table.from_pylist(captions))
    return {role: writer.finish() for role, writer in writers.items()}


def _write(writer: ArtifactWriter, name: str, schema: pa.Schema, rows: Iterator[dict[str, Any]]) -> None:
    groups = (pa.Table.from_pylist(group, schema=schema) for group in in_batches(rows, ROWS_AT_A_TIME))
    write_streamed_table(writer, name, schema, groups)


def _write_latents(writer: ArtifactWriter, count: int, shape: Shape, shard_size: int) -> None:
    latents = torch.randn((shard_size, *shape), generator=make_generator(0, "latents"))  # the same in every shard
    for index, start in enumerate(range(0, count, shard_size)):
        write_shard(writer, index, latents[: count - start])


def _prompt_rows(count: int) -> Iterator[dict[str, Any]]:
    for row in range(count):
        split = {"source": "made up", "skill": "colour", "split": TRAIN}
        yield {"prompt_id": _prompt_id(row), "text": _text(row), **split}
        if row % 100 == 0:
            yield {"prompt_id": f"held out {row}", "text": _text(row), **split, "split": TEST}


def _entity_rows(count: int) -> Iterator[dict[str, Any]]:
    for row in range(count):
        words = _text(row).split()
        for attribute, noun in ((1, 2), (5, 6)):
            yield {
                "prompt_id": _prompt_id(row),
                "noun": words[noun],
                "attributes": [words[attribute]],
                "noun_span": [0, 1],
                "attribute_spans": [[0, 1]],
                "noun_tokens": [noun + 1],
                "attribute_tokens": [attribute + 1],
                "kept": True,
                "removed_because": None,
            }


def _place(row: int, shard_size: int) -> dict[str, Any]:
    return {"shard": shard_file(row // shard_size), "row": row % shard_size}


def _prompt_id(row: int) -> str:
    return digest_bytes(str(row).encode())[:24]


def _text(row: int) -> str:
    """A prompt; as many different ones as there are numbers."""
    colours, shapes = list(COLOURS), list(SHAPES)
    first, second = row % len(colours), row // len(colours) % len(colours)
    shape, other = row // 7 % len(shapes), row // 11 % len(shapes)
    return f"a {colours[first]} {shapes[shape]} and a {colours[second]} {shapes[other]} number {row}"
