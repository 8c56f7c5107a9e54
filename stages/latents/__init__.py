"""The latents stage: what the reference model makes of every training prompt.

Writes `index.parquet` (prompt_id, trajectory_seed, shard, row), and per shard `latents/00000.safetensors` with one
tensor "latents" (N, C, h, w) in float32; with `kept_steps` also what these steps begin with (`stages.latents.states`).
The trajectory seed gives back the noise that the row began with and met on
its way, so that training walks the same trajectory with the online model.
"""

import math
from typing import Annotated

import pyarrow as pa
from pydantic import Field, model_validator

from stages.batches import batches
from stages.latents.states import KeptStates
from stages.latents.tables import INDEX, INDEX_SCHEMA, IndexRow
from stages.plan.config import NOT_IN_KEY_IF_EMPTY
from stages.plan.splits import TRAIN
from stages.plan.stage import Inputs, ShardedStage
from stages.prompts.tables import count_training_prompts, read_part_of_texts, stream_texts
from stages.sampling import SamplingConfig, sample, sampling_model
from stages.store.artifact_writer import ArtifactWriter
from stages.store.latent_shards import shard_file, write_shard
from stages.store.streamed_tables import ROWS_AT_A_TIME, in_batches


class LatentsConfig(SamplingConfig):
    """How the reference latents are sampled; training must sample alike."""

    shard_size: int = Field(512, ge=1, le=100_000, description="prompts per shard")
    kept_steps: Annotated[
        tuple[Annotated[int, Field(ge=1)], ...] | None,
        NOT_IN_KEY_IF_EMPTY,
        Field(min_length=1, description="steps whose beginning is kept too, for training to start there"),
    ] = None

    @model_validator(mode="after")
    def _steps_are_of_the_walk(self) -> "LatentsConfig":
        if self.kept_steps and max(self.kept_steps) >= self.sampling.num_inference_steps:
            raise ValueError("kept_steps must be below sampling.num_inference_steps")
        return self


def count_shards(config: LatentsConfig, inputs: Inputs) -> int:
    """Number of shards that the training prompts fill."""
    return math.ceil(count_training_prompts(inputs["prompts"], "latents") / config.shard_size)


def build_shard(config: LatentsConfig, inputs: Inputs, writer: ArtifactWriter, index: int) -> None:
    """Sample the latents of one shard's prompts."""
    import torch

    part = range(index * config.shard_size, (index + 1) * config.shard_size)
    prompts = read_part_of_texts(inputs["prompts"], TRAIN, part)
    latents, states = [], KeptStates(config.kept_steps or ())
    with sampling_model(config, inputs) as model:
        for batch in batches(prompts, config.batch_size, f"Latents, shard {index + 1}"):
            seeds = [trajectory_seed(config.seed, prompt.prompt_id) for prompt in batch]
            texts = [prompt.text for prompt in batch]
            latents.append(sample(model, config, texts, seeds, callback=states.after_step).latents)
    write_shard(writer, index, torch.cat(latents))
    states.write(writer, index)


def build_rest(config: LatentsConfig, inputs: Inputs, writer: ArtifactWriter) -> None:
    """Write the index of all shards, which is in memory as columns alone."""
    rows = (
        IndexRow(
            prompt_id=prompt.prompt_id,
            trajectory_seed=trajectory_seed(config.seed, prompt.prompt_id),
            shard=shard_file(number // config.shard_size),
            row=number % config.shard_size,
        )
        for number, prompt in enumerate(stream_texts(inputs["prompts"], TRAIN))
    )
    parts = (
        pa.Table.from_pylist([vars(row) for row in part], schema=INDEX_SCHEMA)
        for part in in_batches(rows, ROWS_AT_A_TIME)
    )
    writer.write_table(INDEX, pa.concat_tables(parts))


def trajectory_seed(seed: int, prompt_id: str) -> int:
    """Derive the seed of the trajectory on which a prompt's reference latents lie."""
    from comat_core.support.randomness import derive_seed

    return derive_seed(seed, "initial noise", prompt_id)


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
