"""The images stage: images of the evaluation prompts, by the base model or, with a train input, by the tuned one.

Writes per shard `images/00000.parquet` (prompt_id, split, sample, png). Both models' artifacts hold the same rows in
the same order, and the images of a row began with the same noise.
"""

import math
from typing import Annotated, Any, Self

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field, field_validator

from comat_core.errors import UserError
from stages.artifacts import ArtifactWriter
from stages.config import ModelReference
from stages.png import encode_png
from stages.progress import progress_bar
from stages.registry import SPLITS
from stages.sampling import SamplingConfig, in_parts, sample_latents, sampling_model
from stages.stage import Inputs, ShardedStage

SCHEMA = pa.schema([("prompt_id", pa.string()), ("split", pa.string()), ("sample", pa.int32()), ("png", pa.binary())])


class ImagesConfig(SamplingConfig):
    """How many images are drawn, and how."""

    vae: ModelReference | None = Field(default=None, description="an autoencoder that replaces the checkpoint's own")
    samples: dict[str, Annotated[int, Field(ge=1, le=1000)]] = Field(
        default={"test": 2, "fidelity": 1},
        min_length=1,
        description="split of the prompts -> images of each of its prompts; every split makes an artifact of its own",
    )
    shard_size: int = Field(default=512, ge=1, le=100_000, description="images per shard")

    @field_validator("samples")
    @classmethod
    def _draws_what_is_evaluated(cls, samples: dict[str, int]) -> dict[str, int]:
        unknown = sorted(set(samples) - set(SPLITS))
        if unknown:
            raise ValueError(f"no evaluation reads the split {unknown[0]!r}; those that are read: {', '.join(SPLITS)}")
        return samples

    def limited_to(self, split: str) -> Self | None:
        samples = {name: count for name, count in self.samples.items() if name == split}
        return self.model_copy(update={"samples": samples}) if samples else None


def count_shards(config: ImagesConfig, inputs: Inputs) -> int:
    """Number of shards that the images fill."""
    return math.ceil(len(_images_to_draw(config, inputs)) / config.shard_size)


def build_shard(config: ImagesConfig, inputs: Inputs, writer: ArtifactWriter, index: int) -> None:
    """Draw the images of one shard."""
    wanted = in_parts(_images_to_draw(config, inputs), config.shard_size)[index]
    files: list[bytes] = []
    with sampling_model(config, inputs, config.vae) as model:
        for batch in progress_bar(in_parts(wanted, config.batch_size), f"Images, shard {index + 1}"):
            seeds = [image_seed(config.seed, image["prompt_id"], image["sample"]) for image in batch]
            latents = sample_latents(model, config, [image["text"] for image in batch], seeds)
            files += [encode_png(image) for image in model.decode(latents)]
    rows = [{**image, "png": png} for image, png in zip(wanted, files, strict=True)]
    writer.write_table(f"images/{index:05d}.parquet", pa.Table.from_pylist(rows, schema=SCHEMA))


def image_seed(seed: int, prompt_id: str, sample: int) -> int:
    """Derive the trajectory seed of an image; the model is no part of it."""
    from comat_core.randomness import derive_seed

    return derive_seed(seed, "image noise", prompt_id, sample)


def _images_to_draw(config: ImagesConfig, inputs: Inputs) -> list[dict[str, Any]]:
    """(prompt_id, text, split, sample) of every image: split by split in the order of names, prompt by prompt.

    Raises:
        UserError: a split that images are asked for has no prompts.
    """
    table = inputs["prompts"].read_table("prompts.parquet").select(["prompt_id", "text", "split"])
    images = []
    for split, samples in sorted(config.samples.items()):
        prompts = table.filter(pc.field("split") == split).to_pylist()
        if not prompts:
            raise UserError(
                f"no prompt is of the split {split!r}", f"images.samples.{split}", "check the prompts stage's settings"
            )
        images += [{**prompt, "sample": sample} for prompt in prompts for sample in range(samples)]
    return images


STAGE = ShardedStage(
    name="images",
    version=1,
    config_type=ImagesConfig,
    inputs=("prompts",),
    optional_inputs=("train", "adapt"),
    count_shards=count_shards,
    build_shard=build_shard,
)
run = STAGE.run
