"""The frame of every evaluation of generated images: images part by part, rows of a table, one summary at the end."""

from collections.abc import Callable, Container, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from stages.evaluate.images.generated_images import GeneratedImage, Prompt, decode_images
from stages.evaluate.images.prefetching import prefetched, rows_of
from stages.evaluate.scoring.settings import EvaluationConfig, chosen_prompts, count_parts, images_of_part, skills_of
from stages.evaluate.scoring.summaries import join_parts, part_name, summarise_items, write_summary
from stages.plan.stage import Inputs, ShardedStage
from stages.progress import progress_bar
from stages.sampling import in_parts
from stages.store.artifacts import ArtifactWriter

if TYPE_CHECKING:
    from torch import Tensor

Score = Callable[[Any, Sequence[GeneratedImage], dict[str, Prompt]], list[dict[str, Any]]]
"""(config, images, prompt id -> prompt) -> rows of the items table. It may leave images out."""


def item_schema(*columns: tuple[str, pa.DataType]) -> pa.Schema:
    """The schema of an items table: which image a row is about, then the given columns."""
    identity = [("model", pa.string()), ("prompt_id", pa.string()), ("sample", pa.int64())]
    return pa.schema([*identity, *columns])


def identity_of(image: GeneratedImage) -> dict[str, Any]:
    """The columns that say which image a row is about."""
    return {"model": image.model, "prompt_id": image.prompt_id, "sample": image.sample}


def in_batches(
    images: Sequence[GeneratedImage], size: int, title: str
) -> Iterator[tuple[Sequence[GeneratedImage], "Tensor"]]:
    """Yield images with their pixels, (B, 3, H, W) in [0, 1] on the CPU, under a progress bar of the given title."""
    batches = in_parts(images, size)
    decoded = prefetched(batches, lambda batch: decode_images([image.png for image in batch]))
    yield from progress_bar(decoded, title, total=len(batches))


def in_question_batches(
    images: Sequence[GeneratedImage], asked: Sequence[tuple[int, str]], size: int, title: str
) -> Iterator[tuple[Sequence[tuple[int, str]], "Tensor", list[int]]]:
    """Yield (row of the image, text) pairs a batch at a time, each image decoded once per batch.

    Returns:
        Triples of a batch of `asked`, the pixels (B, 3, H, W) in [0, 1] of its images on the CPU, and the place among
        them of each pair's image.
    """
    batches = in_parts(asked, size)
    decoded = prefetched(batches, lambda batch: decode_images([images[row].png for row in rows_of(batch)]))
    for batch, pixels in progress_bar(decoded, title, total=len(batches)):
        places = {row: place for place, row in enumerate(rows_of(batch))}
        yield batch, pixels, [places[row] for row, _ in batch]


def image_evaluation(
    *,
    name: str,
    version: int,
    config_type: type[EvaluationConfig],
    schema: pa.Schema,
    score: Score,
    build_rest: Callable[[Any, Inputs, ArtifactWriter], None],
    more_inputs: tuple[str, ...] = (),
) -> ShardedStage:
    """Make the stage that scores the images of every model, a shard for each part of them.

    Args:
        name: "evaluate." and the name of the evaluation.
        schema: of the items table.
        score: makes its rows.
        build_rest: joins the parts and writes the summary.
        more_inputs: roles of what it reads besides prompts and images.
    """

    def build_shard(config: EvaluationConfig, inputs: Inputs, writer: ArtifactWriter, index: int) -> None:
        prompts = chosen_prompts(config, inputs)
        images = images_of_part(inputs, index, prompts)
        items = score(config, images, prompts) if images else []
        writer.write_table(part_name(index), pa.Table.from_pylist(items, schema=schema))

    return ShardedStage(
        name=name,
        version=version,
        config_type=config_type,
        inputs=("prompts", "base", "tuned", *more_inputs),
        optional_inputs=("other",),
        count_shards=count_parts,
        build_shard=build_shard,
        build_rest=build_rest,
    )


def summarise_parts(
    config: EvaluationConfig,
    inputs: Inputs,
    writer: ArtifactWriter,
    metrics: Sequence[str],
    *,
    benchmark: str,
    protocol: str,
    seen: Container[str] = (),
) -> None:
    """Join the parts' items, average each metric and write the summary.

    Args:
        seen: ids of prompts that the training sources hold; see `summarise_items`.
    """
    summary = summarise_items(
        join_parts(writer, benchmark),
        metrics,
        benchmark=benchmark,
        protocol=protocol,
        skills=skills_of(chosen_prompts(config, inputs)),
        seed=config.seed,
        resamples=config.resamples,
        seen=seen,
    )
    write_summary(writer, summary, inputs)
