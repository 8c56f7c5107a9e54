"""Object and attribute accuracy by the independent judge.

Writes `items/*.parquet` (model, prompt_id, sample, the metrics, and the pairs that the judge sees) and `summary.json`.
Prompts that name no shape of the judge's are left out.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import pyarrow as pa
from pydantic import Field

from stages.artifacts import ArtifactWriter
from stages.config import ModelReference
from stages.devices import choose_device
from stages.evaluate.generated_images import GeneratedImage, decode_images
from stages.evaluate.loaded import loaded
from stages.evaluate.settings import EvaluationConfig, chosen_prompts, count_parts, images_of_part, skills_of
from stages.evaluate.summaries import join_parts, part_name, summarise_items, write_summary
from stages.progress import progress_bar
from stages.stage import Inputs, ShardedStage

if TYPE_CHECKING:
    from comat_core.metrics.judge import Judge, RequiredObject

METRICS = ("object_accuracy", "attribute_accuracy", "all_right", "exact")

ITEM_SCHEMA = pa.schema(
    [
        ("model", pa.string()),
        ("prompt_id", pa.string()),
        ("sample", pa.int64()),
        ("seen", pa.list_(pa.string())),
        *((metric, pa.float64()) for metric in METRICS),
    ]
)


class JudgeConfig(EvaluationConfig):
    """Settings of the judge's scores."""

    judge: ModelReference = Field(description='a multi-label ResNet classifier of "colour shape" pairs')


def build_shard(config: JudgeConfig, inputs: Inputs, writer: ArtifactWriter, index: int) -> None:
    """Score the images of one part."""
    prompts = chosen_prompts(config, inputs)
    images = images_of_part(inputs, index, prompts)
    items: list[dict[str, Any]] = []
    if images:
        from comat_core.metrics.judge import Judge

        device = choose_device(config.device)
        judge = loaded(Judge.load, config.judge.resolve(), revision=config.judge.revision, device=device)
        required = {key: judge.vocabulary.required_objects(prompt.text) for key, prompt in prompts.items()}
        items = score_images([image for image in images if required[image.prompt_id]], required, judge, config)
    writer.write_table(part_name(index), pa.Table.from_pylist(items, schema=ITEM_SCHEMA))


def build_rest(config: JudgeConfig, inputs: Inputs, writer: ArtifactWriter) -> None:
    """Join the shards and summarise them."""
    items = join_parts(writer, "judge")
    summary = summarise_items(
        items,
        METRICS,
        benchmark="judge",
        protocol="independent multi-label classifier of colour-shape pairs, present above probability 0.5",
        skills=skills_of(chosen_prompts(config, inputs)),
        seed=config.seed,
        resamples=config.resamples,
    )
    write_summary(writer, summary, inputs)


def score_images(
    images: Sequence[GeneratedImage],
    required: "Mapping[str, Sequence[RequiredObject]]",
    judge: "Judge",
    config: JudgeConfig,
) -> list[dict[str, Any]]:
    """Judge every image; return one row of the items table per image.

    Args:
        required: prompt id -> the objects that the prompt names.
    """
    from comat_core.metrics.judge import PRESENT, score_image

    items = []
    batches = [images[start : start + config.batch_size] for start in range(0, len(images), config.batch_size)]
    for batch in progress_bar(batches, "Judge"):
        probabilities, _ = judge.look_at(decode_images([image.png for image in batch]))
        for image, row in zip(batch, probabilities, strict=True):
            pairs = judge.as_pairs(row)
            items.append(
                {
                    "model": image.model,
                    "prompt_id": image.prompt_id,
                    "sample": image.sample,
                    "seen": [" ".join(pair) for pair, value in pairs.items() if value > PRESENT],
                    **asdict(score_image(pairs, required[image.prompt_id])),
                }
            )
    return items


STAGE = ShardedStage(
    name="evaluate.judge",
    version=3,
    config_type=JudgeConfig,
    inputs=("prompts", "base", "tuned"),
    optional_inputs=("other",),
    count_shards=count_parts,
    build_shard=build_shard,
    build_rest=build_rest,
)
run = STAGE.run
