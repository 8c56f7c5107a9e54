"""What every images artifact holds, whoever drew them: which images, in which order, in which files.

Per shard `images/00000.parquet` (prompt_id, split, sample, png). All artifacts of a split hold the same rows in the
same order, so that evaluations read them side by side.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Final, Self

import pyarrow as pa
from pydantic import Field, field_validator

from comat_core.support.errors import UserError
from stages.batches import BatchSize, in_parts
from stages.models.devices import AUTO
from stages.plan.config import NOT_IN_KEY, StageConfig
from stages.plan.stage import Inputs
from stages.prompts.tables import read_texts
from stages.store.artifact_writer import ArtifactWriter
from stages.store.artifacts import Artifact
from stages.store.typed_tables import read_rows

PARTS: Final = "images/"
SCHEMA: Final = pa.schema(
    [("prompt_id", pa.string()), ("split", pa.string()), ("sample", pa.int32()), ("png", pa.binary())]
)


@dataclass(frozen=True)
class ImageRow:
    """One image. `sample` counts the images of a prompt; equal samples began from the same noise."""

    prompt_id: str
    split: str
    sample: int
    png: bytes


class ImagesToDraw(StageConfig):
    """Which images there are to be, whoever draws them."""

    seed: int = Field(ge=0, lt=2**63, description="of the run; an image's seed is derived from it and the prompt's id")
    resolution: int = Field(ge=8, le=4096, description="pixels per side of an image")
    samples: dict[str, Annotated[int, Field(ge=1, le=1000)]] = Field(
        default={"test": 2, "fidelity": 1},
        min_length=1,
        description="split of the prompts -> images of each of its prompts; every split makes an artifact of its own",
    )
    shard_size: int = Field(default=512, ge=1, le=100_000, description="images per shard")
    batch_size: BatchSize = Field(default=8, description="prompts denoised together; auto takes as many as fit")
    device: Annotated[str, NOT_IN_KEY] = Field(default=AUTO, min_length=1, description="torch device; auto takes a GPU")

    @field_validator("samples")
    @classmethod
    def _draws_what_is_evaluated(cls, samples: dict[str, int]) -> dict[str, int]:
        from stages.evaluate.declared.registry import splits  # whose benchmarks read these tables

        unknown = sorted(set(samples) - set(splits()))
        if unknown:
            known = ", ".join(splits())
            raise ValueError(f"no evaluation reads the split {unknown[0]!r}; those that are read: {known}")
        return samples

    def limited_to(self, split: str) -> Self | None:
        samples = {name: count for name, count in self.samples.items() if name == split}
        return self.model_copy(update={"samples": samples}) if samples else None


def count_shards(config: ImagesToDraw, inputs: Inputs) -> int:
    """Number of shards that the images fill."""
    return math.ceil(len(images_to_draw(config, inputs)) / config.shard_size)


def images_of_shard(config: ImagesToDraw, inputs: Inputs, index: int) -> Sequence[dict[str, Any]]:
    """(prompt_id, text, split, sample) of one shard's images."""
    return in_parts(images_to_draw(config, inputs), config.shard_size)[index]


def images_to_draw(config: ImagesToDraw, inputs: Inputs) -> list[dict[str, Any]]:
    """(prompt_id, text, split, sample) of every image: split by split in the order of names, prompt by prompt.

    Raises:
        UserError: a split that images are asked for has no prompts.
    """
    images = []
    for split, samples in sorted(config.samples.items()):
        prompts = read_texts(inputs["prompts"], split)
        if not prompts:
            raise UserError(
                f"no prompt is of the split {split!r}", f"images.samples.{split}", "check the prompts stage's settings"
            )
        images += [
            {"prompt_id": prompt.prompt_id, "text": prompt.text, "split": split, "sample": sample}
            for prompt in prompts
            for sample in range(samples)
        ]
    return images


def image_seed(seed: int, prompt_id: str, sample: int) -> int:
    """Derive the trajectory seed of an image; the model is no part of it."""
    from comat_core.support.randomness import derive_seed

    return derive_seed(seed, "image noise", prompt_id, sample)


def write_images(writer: ArtifactWriter, index: int, images: Sequence[dict[str, Any]], files: Sequence[bytes]) -> None:
    """Write one shard: its images' rows, each with its PNG file."""
    rows = [{**image, "png": png} for image, png in zip(images, files, strict=True)]
    writer.write_table(part_file(index), pa.Table.from_pylist(rows, schema=SCHEMA))


def part_file(index: int) -> str:
    """The file of one shard."""
    return f"{PARTS}{index:05d}.parquet"


def image_parts(images: Artifact) -> list[str]:
    """Names of the files that an images artifact consists of, in order."""
    return images.files(PARTS)


def read_images(images: Artifact, part: str, split: str | None = None) -> list[ImageRow]:
    """The images of one of an artifact's files.

    Args:
        split: leave out images of other splits.

    Raises:
        DamagedArtifactError: the file is not what the stage wrote.
    """
    return read_rows(images, part, ImageRow, None if split is None else {"split": [split]})
