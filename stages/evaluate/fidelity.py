"""Fidelity: the Frechet distance of generated images to real ones, on the judge's pooled features.

As FID-10K does with COCO: the prompts (split "fidelity") are captions of real images, and both models' images of them
are compared with real images. The extractor is the judge and not Inception, so values compare with each other only.

Writes `items/*.parquet` (model, prompt_id, sample, features), `real.parquet` (features) and `summary.json`.
"""

from typing import Any

import pyarrow as pa
from pydantic import Field

from stages.artifacts import ArtifactWriter
from stages.config import ModelReference
from stages.devices import choose_device
from stages.evaluate.features import (
    FEATURE_FIELDS,
    Extractor,
    FeaturesConfig,
    feature_items,
    in_batches,
    real_features,
    summarise_distances,
)
from stages.evaluate.loaded import loaded
from stages.evaluate.settings import chosen_prompts, count_parts, images_of_part
from stages.evaluate.summaries import join_parts, part_name, write_summary
from stages.stage import Inputs, ShardedStage

METRIC = "frechet_distance"

ITEM_SCHEMA = pa.schema(FEATURE_FIELDS)


class FidelityConfig(FeaturesConfig):
    """Settings of the fidelity distance."""

    judge: ModelReference = Field(description="the classifier whose pooled features are compared")


def build_shard(config: FidelityConfig, inputs: Inputs, writer: ArtifactWriter, index: int) -> None:
    """Extract the features of one part of the generated images."""
    images = images_of_part(inputs, index, chosen_prompts(config, inputs))
    items: list[dict[str, Any]] = []
    if images:
        extract = _load_judge(config)
        for batch, pixels in in_batches(images, config.batch_size):
            items += feature_items(batch, pixels, extract)
    writer.write_table(part_name(index), pa.Table.from_pylist(items, schema=ITEM_SCHEMA))


def build_rest(config: FidelityConfig, inputs: Inputs, writer: ArtifactWriter) -> None:
    """Extract the features of the real images and compare."""
    items = join_parts(writer, "fidelity")
    real = real_features(config, _load_judge(config))
    writer.write_table("real.parquet", pa.table({"features": list(real)}))
    protocol = f"Frechet distance on the judge's pooled features, against {len(real)} real images"
    distances = summarise_distances(config, items, real, METRIC)
    write_summary(writer, {"benchmark": "fidelity", "protocol": protocol, **distances}, inputs)


def _load_judge(config: FidelityConfig) -> Extractor:
    from comat_core.image_features import PooledFeatures

    return loaded(
        PooledFeatures.load, config.judge.resolve(), revision=config.judge.revision, device=choose_device(config.device)
    )


STAGE = ShardedStage(
    name="evaluate.fidelity",
    version=4,
    config_type=FidelityConfig,
    inputs=("prompts", "base", "tuned"),
    optional_inputs=("other",),
    count_shards=count_parts,
    build_shard=build_shard,
    build_rest=build_rest,
)
run = STAGE.run
