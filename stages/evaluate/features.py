"""What the Frechet distances have in common: features of generated and of real images, and their comparison."""

from collections.abc import Callable, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pyarrow as pa
from pydantic import Field

from stages.digests import digest_json
from stages.evaluate.generated_images import GeneratedImage
from stages.evaluate.image_evaluation import identity_of
from stages.evaluate.real_images import RealImages, check_real_images, identity_of_files, read_real_images
from stages.evaluate.settings import EvaluationConfig
from stages.evaluate.summaries import models_of
from stages.progress import progress_bar

if TYPE_CHECKING:
    from torch import Tensor

FEATURES = ("features", pa.list_(pa.float32()))
"""The column of the items table."""

Extractor = Callable[["Tensor"], "Tensor"]
"""Images (B, 3, H, W) of bytes to features (B, D)."""


class FeaturesConfig(EvaluationConfig):
    """Settings of every distance between generated and real images."""

    split: ClassVar[str] = "fidelity"

    real: RealImages = Field(default=RealImages(), description="the real images")
    resolution: int = Field(ge=8, le=4096, description="pixels per side of real images, that of the generated ones")
    seed: int = Field(ge=0, lt=2**63, description="of the bootstrap and of the miniature world's images")
    resamples: int = Field(default=500, ge=100, le=100_000, description="bootstrap resamples")

    def key_payload(self) -> dict[str, Any]:
        return {**super().key_payload(), "real_files": digest_json(identity_of_files(self.real))}

    def fetch_files(self) -> None:
        check_real_images(self.real)


def feature_items(images: Sequence[GeneratedImage], pixels: "Tensor", extract: Extractor) -> list[dict[str, Any]]:
    """One row of the items table per image."""
    features = extract((pixels * 255).round().byte()).cpu().numpy()
    return [{**identity_of(image), "features": row} for image, row in zip(images, features, strict=True)]


def real_features(config: FeaturesConfig, extract: Extractor) -> np.ndarray:
    """Features (M, D) of the real images."""
    import torch

    images = read_real_images(config.real, config.seed, config.resolution)
    features = []
    for _ in progress_bar(range(0, config.real.count, config.batch_size), "Real images"):
        batch = np.stack(list(islice(images, config.batch_size)))
        features.append(extract(torch.from_numpy(batch).permute(0, 3, 1, 2)).cpu().numpy())
    return np.concatenate(features)


def summarise_distances(
    config: FeaturesConfig, items: pa.Table, real: np.ndarray, metric: str, *, by_library: bool = False
) -> dict[str, Any]:
    """Each model's distance to the real images, the change from base to tuned, and their ratio as "<metric>_ratio".

    Args:
        items: rows of the items table.
        real: (M, D) features of the real images.
        by_library: take the distances from torchmetrics; the intervals are always ours.

    Returns:
        The parts "models" and "delta" of a summary.
    """
    from comat_core.metrics.bootstrap import make_numpy_generator
    from comat_core.metrics.fid import library_distance
    from comat_core.metrics.frechet import compare_fidelity

    tables = models_of(items)
    features = {model: np.stack(table["features"].to_numpy()) for model, table in tables.items()}
    points = {model: library_distance(real, rows) for model, rows in features.items()} if by_library else None
    summary: dict[str, Any] = {"models": {}, "delta": {}}
    for model in list(features)[1:]:
        comparison = compare_fidelity(
            real,
            features["base"],
            features[model],
            tables["base"]["prompt_id"].to_pylist(),
            make_numpy_generator(config.seed, metric),
            resamples=config.resamples,
            points=None if points is None else [points["base"], points[model]],
        )
        summary["models"].setdefault("base", {metric: comparison.base.as_dict()})
        summary["models"][model] = {metric: comparison.tuned.as_dict()}
        if model == "tuned":
            summary["delta"] = {
                metric: comparison.difference.as_dict(),
                f"{metric}_ratio": comparison.ratio.as_dict(),
            }
    return summary
