"""Training on prompts with two objects of one noun, from the table of the entities to the LoRA."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

import comat_core.training.training_step as training_step_module
from comat_core.training.entity_masks import entity_masks
from stages.plan.config import StageConfig
from stages.plan.stage import Inputs, Stage
from stages.store.artifact_writer import ArtifactWriter
from stages.store.artifacts import Artifact
from stages.store.store import Store
from stages.train import STAGE, TrainConfig, run

MakeConfig = Callable[..., TrainConfig]


@pytest.fixture
def inputs_of_one_noun(inputs: dict[str, Artifact], tmp_path: Path) -> dict[str, Artifact]:
    """The inputs of the other tests, but every second noun is the first one once more."""
    rows = inputs["entities"].read_table("entities.parquet").to_pylist()
    first = {row["prompt_id"]: row["noun"] for row in rows if row["entity_index"] == 0}

    def build(config: StageConfig, inputs: Inputs, writer: ArtifactWriter) -> None:  # noqa: ARG001
        changed = [{**row, "noun": first[row["prompt_id"]], "kept": True} for row in rows]
        writer.write_table("entities.parquet", pa.Table.from_pylist(changed))

    stage = Stage(name="entities", version=1, config_type=StageConfig, build=build)
    return {**inputs, "entities": stage.run(StageConfig(), {}, Store(str(tmp_path / "inputs")))}


def test_every_mention_is_trained_on_an_object_of_its_own(
    make_config: MakeConfig,
    inputs_of_one_noun: dict[str, Artifact],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen: list[tuple[Any, Any]] = []

    def watched(segmenter: Any, images: Any, entities: Any, attention_maps: Any) -> Any:
        masks = entity_masks(segmenter, images, entities, attention_maps)
        seen.extend(zip(entities, masks, strict=True))
        return masks

    monkeypatch.setattr(training_step_module, "entity_masks", watched)
    config = make_config(segmentation={"kind": "clipseg", "threshold": 0.5, "instances": {"smallest_share": 0.001}})
    artifact = run(config, inputs_of_one_noun, Store(str(tmp_path / "store")))
    assert artifact.read_table("metrics.parquet")["skipped"].to_pylist() == [0, 0, 0]
    assert len(seen) == 6
    for entities, masks in seen:
        one, other = entities
        assert one.noun == other.noun
        assert one.tokens != other.tokens
        assert not (masks[0] & masks[1]).any()
    assert any(mask.any() for _, masks in seen for mask in masks)


def test_how_objects_are_told_apart_is_in_the_key_if_it_is_said(make_config: MakeConfig) -> None:
    keys = [
        STAGE.key(make_config(segmentation={"kind": "clipseg", **settings}), dict.fromkeys(STAGE.inputs, "x"))
        for settings in ({}, {"instances": None}, {"instances": {}}, {"instances": {"most_overlap": 0.3}})
    ]
    assert keys[0] == keys[1]
    assert len(set(keys)) == 3
