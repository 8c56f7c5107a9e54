"""Fidelity: the Frechet distance of generated images to real ones, on the judge's pooled features.

As FID-10K does with COCO: the prompts (split "fidelity") are captions of real images, and both models' images of them
are compared with real images. The extractor is the judge and not Inception, so values compare with each other only.

Writes `items/*.parquet` (model, prompt_id, sample, features), `real.parquet` (features) and `summary.json`.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa
from pydantic import Field

from stages.artifacts import ArtifactWriter
from stages.config import ModelReference
from stages.devices import choose_device
from stages.evaluate.features import (
    FEATURES,
    Extractor,
    FeaturesConfig,
    feature_items,
    real_features,
    summarise_distances,
)
from stages.evaluate.generated_images import GeneratedImage, Prompt
from stages.evaluate.image_evaluation import image_evaluation, in_batches, item_schema
from stages.evaluate.loaded import loaded
from stages.evaluate.summaries import join_parts, write_summary
from stages.stage import Inputs

METRIC = "frechet_distance"

ITEM_SCHEMA = item_schema(FEATURES)


class FidelityConfig(FeaturesConfig):
    """Settings of the fidelity distance."""

    judge: ModelReference = Field(description="the classifier whose pooled features are compared")


def score_images(
    config: FidelityConfig, images: Sequence[GeneratedImage], _prompts: Mapping[str, Prompt]
) -> list[dict[str, Any]]:
    """Extract the features of generated images; return one row of the items table for each."""
    extract = _load_judge(config)
    batches = in_batches(images, config.batch_size, "Features")
    return [row for batch, pixels in batches for row in feature_items(batch, pixels, extract)]


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


STAGE = image_evaluation(
    name="evaluate.fidelity",
    version=4,
    config_type=FidelityConfig,
    schema=ITEM_SCHEMA,
    score=score_images,
    build_rest=build_rest,
)
run = STAGE.run
