"""Halves the squares, shard by shard: a shard waits for no more of them than the one of its number."""

import pyarrow as pa

from stages.plan.config import StageConfig
from stages.plan.stage import Following, Inputs, ShardedStage
from stages.store.artifact_writer import ArtifactWriter
from tests.fakes.tally import tally


class HalvesConfig(StageConfig):
    pass


def count_shards(config: HalvesConfig, inputs: Inputs) -> int:  # noqa: ARG001
    return len(inputs["squares"].files("squares/"))


def build_shard(config: HalvesConfig, inputs: Inputs, writer: ArtifactWriter, index: int) -> None:  # noqa: ARG001
    tally(f"halves-{index}")
    squares = inputs["squares"].read_table("squares")["square"].to_pylist()
    shift = 0 if "offset" not in inputs else inputs["offset"].read_json("offset.json")
    writer.write_table(f"halves/{index:05d}.parquet", pa.table({"half": [square / 2 + shift for square in squares]}))


def build_rest(config: HalvesConfig, inputs: Inputs, writer: ArtifactWriter) -> None:  # noqa: ARG001
    writer.write_json("made_from.json", inputs["squares"].manifest.files["count.json"].size)


STAGE = ShardedStage(
    name="halves",
    version=1,
    config_type=HalvesConfig,
    inputs=("squares",),
    optional_inputs=("offset",),
    count_shards=count_shards,
    build_shard=build_shard,
    build_rest=build_rest,
    follows=Following("squares", lambda index: (f"squares/{index:05d}.parquet",)),
)
