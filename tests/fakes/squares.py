"""Squares the numbers, two per shard; with the role "offset", which is optional, adds a number to each."""

import builtins
import os
import time
from pathlib import Path
from typing import Annotated

import pyarrow as pa
from pydantic import Field

from stages.plan.config import NOT_IN_KEY, StageConfig
from stages.plan.stage import Inputs, ShardedStage
from stages.store.artifact_writer import ArtifactWriter
from tests.fakes.tally import tally

PER_SHARD = 2


class SquaresConfig(StageConfig):
    delay: Annotated[float, NOT_IN_KEY, Field(ge=0, description="seconds that a shard takes")] = 0.0


def count_shards(config: SquaresConfig, inputs: Inputs) -> int:  # noqa: ARG001
    return -(-inputs["numbers"].read_table("numbers.parquet").num_rows // PER_SHARD)


def build_shard(config: SquaresConfig, inputs: Inputs, writer: ArtifactWriter, index: int) -> None:
    tally(f"squares-{index}")
    _fail_if_asked(index)
    numbers = inputs["numbers"].read_table("numbers.parquet")["number"].to_pylist()
    offset = inputs["offset"].read_json("offset.json") if "offset" in inputs else 0
    squares = [number**2 + offset for number in numbers[index * PER_SHARD : (index + 1) * PER_SHARD]]
    writer.write_json(f"notes/{index}.json", {"index": index})
    time.sleep(config.delay)
    writer.write_table(f"squares/{index:05d}.parquet", pa.table({"square": squares}))


def _fail_if_asked(index: int) -> None:
    """Fail once in shard 1 if the file $COMAT_TEST_FAILURE exists, as a worker does that loses its GPU.

    The file may name another exception of Python's.
    """
    failure = os.environ.get("COMAT_TEST_FAILURE")
    if index == 1 and failure and Path(failure).exists():
        kind = getattr(builtins, Path(failure).read_text() or "RuntimeError")
        Path(failure).unlink()
        raise kind("the worker is gone")


def build_rest(config: SquaresConfig, inputs: Inputs, writer: ArtifactWriter) -> None:  # noqa: ARG001
    writer.write_json("count.json", len(writer.names("squares/")))


STAGE = ShardedStage(
    name="squares",
    version=1,
    config_type=SquaresConfig,
    inputs=("numbers",),
    optional_inputs=("offset",),
    count_shards=count_shards,
    build_shard=build_shard,
    build_rest=build_rest,
)
