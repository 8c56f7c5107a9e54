"""The frame of all scores of generated images: one model's images part by part, and a table with rows about each."""

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from stages.batches import BatchSize, prepared_batches
from stages.evaluate.scoring.images.generated_images import GeneratedImage, Prompt, decode_images
from stages.evaluate.scoring.settings import EvaluationConfig, chosen_prompts, count_parts, images_of
from stages.images.image_rows import part_file
from stages.plan.stage import Following, Inputs, ShardedStage
from stages.store.artifact_writer import ArtifactWriter

if TYPE_CHECKING:
    from torch import Tensor

ITEMS = "items"
ORIGIN = "origin.json"

Score = Callable[[Any, Sequence[GeneratedImage], dict[str, Prompt]], list[dict[str, Any]]]
"""(config, images, prompt id -> prompt) -> rows of the items table. It may leave images out."""


def item_schema(*columns: tuple[str, pa.DataType]) -> pa.Schema:
    """The schema of an items table: which image a row is about, then the given columns."""
    identity = [("prompt_id", pa.string()), ("sample", pa.int64())]
    return pa.schema([*identity, *columns])


def identity_of(image: GeneratedImage) -> dict[str, Any]:
    """The columns that say which image a row is about."""
    return {"prompt_id": image.prompt_id, "sample": image.sample}


def part_name(index: int) -> str:
    """Where the items of one shard stand; `read_table(ITEMS)` reads those of all."""
    return f"{ITEMS}/{index:05d}.parquet"


def in_batches(
    images: Sequence[GeneratedImage], size: BatchSize, title: str
) -> Iterator[tuple[Sequence[GeneratedImage], "Tensor"]]:
    """Yield images with their pixels, (B, 3, H, W) in [0, 1] on the CPU, under a progress bar of the given title."""
    return prepared_batches(images, size, title, lambda batch: decode_images([image.png for image in batch]))


def in_question_batches(
    images: Sequence[GeneratedImage], asked: Sequence[tuple[int, str]], size: BatchSize, title: str
) -> Iterator[tuple[Sequence[tuple[int, str]], "Tensor", list[int]]]:
    """Yield (row of the image, text) pairs a batch at a time, each image decoded once per batch.

    Returns:
        Triples of a batch of `asked`, the pixels (B, 3, H, W) in [0, 1] of its images on the CPU, and the place among
        them of each pair's image.
    """

    def decoded(batch: Sequence[tuple[int, str]]) -> "Tensor":
        return decode_images([images[row].png for row in _rows_of(batch)])

    for batch, pixels in prepared_batches(asked, size, title, decoded):
        places = {row: place for place, row in enumerate(_rows_of(batch))}
        yield batch, pixels, [places[row] for row, _ in batch]


def _rows_of(batch: Sequence[tuple[int, str]]) -> list[int]:
    """The rows of the images that a batch of (row, text) is about, each once, in their order."""
    return list(dict.fromkeys(row for row, _ in batch))


def image_scores(
    *,
    benchmark: str,
    version: int,
    config_type: type[EvaluationConfig],
    schema: pa.Schema,
    score: Score,
    fetch: Callable[[Any], None] | None = None,
) -> ShardedStage:
    """Make the stage that scores one model's images, a shard for each part of them.

    It writes the items table, and in ORIGIN what was scored.

    Args:
        schema: of the items table.
        score: makes its rows.
        fetch: see `AnyStage`.
    """

    def build_shard(config: EvaluationConfig, inputs: Inputs, writer: ArtifactWriter, index: int) -> None:
        prompts = chosen_prompts(config, inputs)
        images = images_of(inputs["images"], prompts)
        items = score(config, images, prompts) if images else []
        writer.write_table(part_name(index), pa.Table.from_pylist(items, schema=schema))

    return ShardedStage(
        name=f"scores.{benchmark}",
        version=version,
        config_type=config_type,
        inputs=("prompts", "images"),
        payload=config_type.scores_payload,
        fetch=fetch,
        count_shards=count_parts,
        build_shard=build_shard,
        build_rest=_write_origin,
        follows=Following("images", lambda index: (part_file(index),)),
    )


def _write_origin(_config: EvaluationConfig, inputs: Inputs, writer: ArtifactWriter) -> None:
    """Write the keys of the images and, if one drew them, of the LoRA: the comparison reads no images' manifests."""
    images = inputs["images"]
    origin = {"images": images.key}
    if "train" in images.manifest.inputs:
        origin["lora"] = images.manifest.inputs["train"].key
    writer.write_json(ORIGIN, origin)
