"""The latents stage: what the reference model makes of every training prompt.

Writes `index.parquet` (prompt_id, trajectory_seed, shard, row), and per shard `latents/00000.safetensors` with one
tensor "latents" (N, C, h, w) in float32. The trajectory seed gives back the noise that the row began with and met on
its way, so that training walks the same trajectory with the online model.
"""

import math
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field

from comat_core.support.errors import UserError
from stages.plan.stage import Inputs, ShardedStage
from stages.progress import progress_bar
from stages.sampling import SamplingConfig, in_parts, sample_latents, sampling_model
from stages.store.artifacts import ArtifactWriter


class LatentsConfig(SamplingConfig):
    """How the reference latents are sampled; training must sample alike."""

    shard_size: int = Field(512, ge=1, le=100_000, description="prompts per shard")


def count_shards(config: LatentsConfig, inputs: Inputs) -> int:
    """Number of shards that the training prompts fill."""
    return math.ceil(len(_training_prompts(inputs)) / config.shard_size)


def build_shard(config: LatentsConfig, inputs: Inputs, writer: ArtifactWriter, index: int) -> None:
    """Sample the latents of one shard's prompts."""
    import torch

    rows = in_parts(_training_prompts(inputs), config.shard_size)[index]
    latents = []
    with sampling_model(config, inputs) as model:
        for batch in progress_bar(in_parts(rows, config.batch_size), f"Latents, shard {index + 1}"):
            seeds = [trajectory_seed(config.seed, row["prompt_id"]) for row in batch]
            latents.append(sample_latents(model, config, [row["text"] for row in batch], seeds))
    writer.write_tensors(_shard_file(index), {"latents": torch.cat(latents)})


def build_rest(config: LatentsConfig, inputs: Inputs, writer: ArtifactWriter) -> None:
    """Write the index of all shards."""
    rows = [
        (prompt["prompt_id"], trajectory_seed(config.seed, prompt["prompt_id"]), _shard_file(shard), row)
        for shard, part in enumerate(in_parts(_training_prompts(inputs), config.shard_size))
        for row, prompt in enumerate(part)
    ]
    columns = zip(*rows, strict=True)
    types = {"prompt_id": pa.string(), "trajectory_seed": pa.int64(), "shard": pa.string(), "row": pa.int32()}
    arrays = {name: pa.array(column, kind) for (name, kind), column in zip(types.items(), columns, strict=True)}
    writer.write_table("index.parquet", pa.table(arrays))


def trajectory_seed(seed: int, prompt_id: str) -> int:
    """Derive the seed of the trajectory on which a prompt's reference latents lie."""
    from comat_core.support.randomness import derive_seed

    return derive_seed(seed, "initial noise", prompt_id)


def _training_prompts(inputs: Inputs) -> list[dict[str, Any]]:
    """Rows (prompt_id, text) of the training prompts, in the order of their table.

    Raises:
        UserError: there are none.
    """
    table = inputs["prompts"].read_table("prompts.parquet")
    rows = table.filter(pc.field("split") == "train").select(["prompt_id", "text"]).to_pylist()
    if not rows:
        raise UserError("there is no training prompt", "latents", "check the settings of the prompts stage")
    return rows


def _shard_file(index: int) -> str:
    return f"latents/{index:05d}.safetensors"


STAGE = ShardedStage(
    name="latents",
    version=1,
    config_type=LatentsConfig,
    inputs=("prompts",),
    optional_inputs=("adapt",),
    count_shards=count_shards,
    build_shard=build_shard,
    build_rest=build_rest,
)
run = STAGE.run
