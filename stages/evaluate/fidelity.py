"""Fidelity: the Frechet distance of generated images to real ones, on the judge's pooled features.

As FID-10K does with COCO: the prompts (split "fidelity") are captions of real images, and both models' images of them
are compared with real images. The extractor is the judge and not Inception, so values compare with each other only.

Writes `items/*.parquet` (model, prompt_id, sample, features), `real.parquet` (features) and `summary.json`.
"""

from itertools import islice
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field

from stages.artifacts import ArtifactWriter
from stages.config import ModelReference
from stages.devices import choose_device
from stages.evaluate.generated_images import MODELS, decode_images
from stages.evaluate.real_images import RealImages, read_real_images
from stages.evaluate.settings import EvaluationConfig, chosen_prompts, count_parts, images_of_part
from stages.evaluate.summaries import join_parts, part_name, write_summary
from stages.progress import progress_bar
from stages.stage import Inputs, ShardedStage

if TYPE_CHECKING:
    from comat_core.metrics.judge import Judge

METRIC = "frechet_distance"
RATIO = "frechet_distance_ratio"

ITEM_SCHEMA = pa.schema(
    [
        ("model", pa.string()),
        ("prompt_id", pa.string()),
        ("sample", pa.int64()),
        ("features", pa.list_(pa.float32())),
    ]
)


class FidelityConfig(EvaluationConfig):
    """Settings of the fidelity distance."""

    split: ClassVar[str] = "fidelity"

    judge: ModelReference = Field(description="the classifier whose pooled features are compared")
    real: RealImages = Field(default=RealImages(), description="the real images")
    resolution: int = Field(ge=8, le=4096, description="pixels per side of real images, that of the generated ones")
    seed: int = Field(ge=0, lt=2**63, description="of the bootstrap and of the miniature world's images")
    resamples: int = Field(default=500, ge=100, le=100_000, description="bootstrap resamples")


def build_shard(config: FidelityConfig, inputs: Inputs, writer: ArtifactWriter, index: int) -> None:
    """Extract the features of one part of the generated images."""
    images = images_of_part(inputs, index, chosen_prompts(config, inputs))
    items: list[dict[str, Any]] = []
    if images:
        judge = _load_judge(config)
        batches = [images[start : start + config.batch_size] for start in range(0, len(images), config.batch_size)]
        for batch in progress_bar(batches, "Features"):
            _, features = judge.look_at(decode_images([image.png for image in batch]))
            for image, row in zip(batch, features, strict=True):
                identity = {"model": image.model, "prompt_id": image.prompt_id, "sample": image.sample}
                items.append({**identity, "features": row.numpy()})
    writer.write_table(part_name(index), pa.Table.from_pylist(items, schema=ITEM_SCHEMA))


def build_rest(config: FidelityConfig, inputs: Inputs, writer: ArtifactWriter) -> None:
    """Extract the features of the real images and compare."""
    from comat_core.metrics.bootstrap import make_numpy_generator
    from comat_core.metrics.frechet import compare_fidelity

    items = join_parts(writer, "fidelity").sort_by([("prompt_id", "ascending"), ("sample", "ascending")])
    tables = {model: items.filter(pc.field("model") == model) for model in MODELS}
    real = _real_features(config)
    writer.write_table("real.parquet", pa.table({"features": list(real)}))
    comparison = compare_fidelity(
        real,
        _feature_rows(tables["base"]),
        _feature_rows(tables["tuned"]),
        tables["base"]["prompt_id"].to_pylist(),
        make_numpy_generator(config.seed, METRIC),
        resamples=config.resamples,
    )
    protocol = f"Frechet distance on the judge's pooled features, against {len(real)} real images"
    summary = {
        "benchmark": "fidelity",
        "protocol": protocol,
        "models": {"base": {METRIC: comparison.base.as_dict()}, "tuned": {METRIC: comparison.tuned.as_dict()}},
        "delta": {METRIC: comparison.difference.as_dict(), RATIO: comparison.ratio.as_dict()},
    }
    write_summary(writer, summary, inputs)


def _load_judge(config: FidelityConfig) -> "Judge":
    from comat_core.metrics.judge import Judge

    device = choose_device(config.device)
    return Judge.load(config.judge.resolve(), revision=config.judge.revision, device=device)


def _real_features(config: FidelityConfig) -> np.ndarray:
    """Features (M, D) of the real images."""
    import torch

    judge = _load_judge(config)
    images = read_real_images(config.real, config.seed, config.resolution)
    starts = range(0, config.real.count, config.batch_size)
    features = []
    for _ in progress_bar(starts, "Real images"):
        batch = np.stack(list(islice(images, config.batch_size)))
        pixels = torch.from_numpy(batch).permute(0, 3, 1, 2).float() / 255
        features.append(judge.look_at(pixels)[1].numpy())
    return np.concatenate(features)


def _feature_rows(table: pa.Table) -> np.ndarray:
    return np.stack(table["features"].to_numpy())


STAGE = ShardedStage(
    name="evaluate.fidelity",
    version=3,
    config_type=FidelityConfig,
    inputs=("prompts", "base", "tuned"),
    optional_inputs=("other",),
    count_shards=count_parts,
    build_shard=build_shard,
    build_rest=build_rest,
)
run = STAGE.run
