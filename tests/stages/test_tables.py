"""The readers beside the stages that write tables: which rows they give, joined with what the rows name."""

from pathlib import Path

import pyarrow as pa
import pytest
import torch

import stages.latents.tables as latents_tables
import stages.pairs.tables as pairs_tables
from comat_core.support.errors import UserError
from stages.entities.tables import read_seen_entities
from stages.images.image_rows import ImageRow, image_parts, read_images
from stages.prompts.tables import (
    PromptRow,
    PromptText,
    count_prompts,
    read_prompts,
    read_seen_in_training,
    read_texts,
    read_training_texts,
    stream_texts,
)
from stages.store.artifacts import Artifact
from stages.store.latent_shards import Place, StoredLatents
from stages.store.local_files import LocalFiles
from stages.store.store import Store
from stages.train.metrics import metrics_table, read_metrics
from tests.stages.fake_run import flat_png, images_table, make_artifact, prompts_tables

PROMPTS = [("e", "a star", "shape", "test"), ("t", "a circle", "colour", "train"), ("f", "a box", "colour", "fidelity")]


@pytest.fixture
def prompts(store: Store) -> Artifact:
    return make_artifact(store, "prompts", tables=prompts_tables(PROMPTS, seen=["e"]))


def with_latents(store: Store, stage: str, rows: list[dict[str, object]]) -> Artifact:
    """An artifact of two shards of two latents each, counted from 0, with an index."""
    writer = store.writer(stage, stage, {"version": 1, "config": {}}, {})
    for shard in range(2):
        latents = torch.arange(2 * shard, 2 * shard + 2).float().reshape(2, 1, 1, 1)
        writer.write_tensors(f"latents/{shard:05d}.safetensors", {"latents": latents})
    writer.write_table("index.parquet", pa.Table.from_pylist(rows))
    return writer.finish()


def test_prompts_are_read_by_split_in_their_order(prompts: Artifact) -> None:
    rows = [PromptRow(one, text, "test", skill, split) for one, text, skill, split in PROMPTS]
    assert read_prompts(prompts) == rows
    assert read_prompts(prompts, ["fidelity", "test"]) == [rows[0], rows[2]]
    assert read_prompts(prompts, []) == []
    assert read_texts(prompts, "test") == [PromptText("e", "a star")]
    assert read_training_texts(prompts, "train") == [PromptText("t", "a circle")]
    assert [prompt.prompt_id for prompt in stream_texts(prompts)] == ["e", "t", "f"]
    assert count_prompts(prompts) == 3
    assert [(seen.prompt_id, seen.training_source) for seen in read_seen_in_training(prompts)] == [("e", "mine")]


def test_no_training_prompt_is_told_with_the_stage_that_asks(store: Store) -> None:
    empty = make_artifact(store, "prompts", tables=prompts_tables(PROMPTS[:1]))
    with pytest.raises(UserError, match=r"there is no training prompt \(adapt\)"):
        read_training_texts(empty, "adapt")


def test_entities_are_read_by_prompt_without_those_that_nothing_concentrates_on(store: Store) -> None:
    def row(prompt_id: str, noun: str, tokens: list[int], *, kept: bool = True) -> dict[str, object]:
        columns = {"attributes": ["red"], "attribute_tokens": [1]}
        return {"prompt_id": prompt_id, "noun": noun, "noun_tokens": tokens, "kept": kept, **columns}

    rows = [row("a", "box", [2]), row("b", "idea", [2], kept=False), row("c", "star", []), row("a", "cup", [5])]
    artifact = make_artifact(store, "entities", tables={"entities.parquet": pa.Table.from_pylist(rows)})
    found = read_seen_entities(artifact)
    assert {prompt_id: [entity.noun for entity in entities] for prompt_id, entities in found.items()} == {
        "a": ["box", "cup"]
    }
    assert (found["a"][1].noun_tokens, found["a"][1].attributes) == ([5], ["red"])


def read_latents(artifact: Artifact, places: list[Place], folder: Path) -> list[float]:
    return StoredLatents(LocalFiles(artifact, folder)).read(places).flatten().tolist()


def test_latents_come_with_their_own_rows_of_the_index(store: Store, tmp_path: Path) -> None:
    places = [("latents/00001.safetensors", 0), ("latents/00000.safetensors", 1)]
    index = [
        {"prompt_id": f"p{row}", "trajectory_seed": 7 + row, "shard": shard, "row": place}
        for row, (shard, place) in enumerate(places)
    ]
    artifact = with_latents(store, "latents", index)
    rows = list(latents_tables.stream_index(artifact))
    assert [(one.prompt_id, one.trajectory_seed) for one in rows] == [("p0", 7), ("p1", 8)]
    assert read_latents(artifact, [Place(one.shard, one.row) for one in rows], tmp_path) == [2, 1]
    captions = [
        {"pair_id": f"g{row}", "caption": f"caption {row}", "shard": shard, "row": place}
        for row, (shard, place) in enumerate(places)
    ]
    pairs = with_latents(store, "pairs", captions)
    named = list(pairs_tables.stream_index(pairs))
    assert [(one.pair_id, one.caption) for one in named] == [("g0", "caption 0"), ("g1", "caption 1")]
    assert read_latents(pairs, [Place(one.shard, one.row) for one in named], tmp_path) == [2, 1]


def test_images_are_read_part_by_part_and_split_by_split(store: Store) -> None:
    png = flat_png((1, 2, 3))
    tables = {
        "images/00000.parquet": images_table([("a", "test", 0, png), ("f", "fidelity", 0, png)]),
        "images/00001.parquet": images_table([("b", "test", 1, png)]),
    }
    artifact = make_artifact(store, "images", tables=tables)
    first, second = image_parts(artifact)
    assert read_images(artifact, first, "test") == [ImageRow("a", "test", 0, png)]
    assert [row.prompt_id for row in read_images(artifact, first)] == ["a", "f"]
    assert read_images(artifact, second) == [ImageRow("b", "test", 1, png)]


def test_metrics_are_read_in_the_order_of_the_steps(store: Store) -> None:
    table = metrics_table([{"step": 2.0, "total": 0.5, "skipped": 1.0}, {"step": 1.0, "total": 0.75}])
    artifact = make_artifact(store, "train", tables={"metrics.parquet": table})
    assert read_metrics(artifact) == ([1, 2], {"total": [0.75, 0.5], "skipped": [None, 1.0]})
