"""What the Frechet distances have in common: features of generated and of real images, and their comparison."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pyarrow as pa
from pydantic import Field

from comat_core.support.errors import UserError
from stages.evaluate.images.real_images import RealImages, check_real_images, identity_of_files, read_real_images
from stages.evaluate.scoring.settings import EvaluationConfig
from stages.evaluate.scoring.summaries import models_of
from stages.plan.digests import digest_json
from stages.progress import progress_bar

if TYPE_CHECKING:
    from torch import Tensor

FEATURES = ("features", pa.list_(pa.float32()))
"""The column of the items table."""

FEWEST = 2
"""Images that a distribution can be fitted to."""


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


def as_bytes(pixels: "Tensor") -> "Tensor":
    """Decoded images in [0, 1] as what networks of features take."""
    return (pixels * 255).round().byte()


def real_batches(config: FeaturesConfig) -> "Iterator[Tensor]":
    """The real images, (B, 3, H, W) of bytes at a time, under a progress bar."""
    import torch

    images = read_real_images(config.real, config.seed, config.resolution)
    for _ in progress_bar(range(0, config.real.count, config.batch_size), "Real images"):
        batch = np.stack(list(islice(images, config.batch_size)))
        yield torch.from_numpy(batch).permute(0, 3, 1, 2)


def features_by_model(items: pa.Table, benchmark: str) -> tuple[dict[str, np.ndarray], list[str]]:
    """Model -> its images' features (N, D), and the prompts of those images, the same for all models.

    Raises:
        UserError: a single image of each model, which no distribution can be fitted to.
    """
    tables = models_of(items)
    prompts = tables["base"]["prompt_id"].to_pylist()
    if len(prompts) < FEWEST:
        raise UserError(
            f"{len(prompts)} image of each model is too few for a distance between distributions",
            f"evaluate.{benchmark}",
            f"draw {FEWEST} or more: raise the count of the fidelity prompts, or images.samples.fidelity",
        )
    for table in tables.values():
        assert table["prompt_id"].to_pylist() == prompts, "all models' items stand in the same order"
    return {model: np.stack(table["features"].to_numpy()) for model, table in tables.items()}, prompts


def summarise_distances(
    config: FeaturesConfig,
    features: Mapping[str, np.ndarray],
    prompts: Sequence[str],
    real: np.ndarray,
    metric: str,
    *,
    part: str = "",
    by_library: bool = False,
) -> dict[str, Any]:
    """Each model's distance to the real images, the change from base to tuned, and their ratio as "<metric>_ratio".

    Args:
        features: model -> (N, D), or (N, n, D) for n items of each image, base first.
        prompts: the prompt of each of the N images.
        real: (M, D) or (M, n, D), of the real images.
        part: ends the names of the scores, such as "/dino".
        by_library: take the distances from torchmetrics; the intervals are always ours.

    Returns:
        The parts "models" and "delta" of a summary.
    """
    from comat_core.metrics.bootstrap import make_numpy_generator
    from comat_core.metrics.frechet_comparison import compare_fidelity

    name = f"{metric}{part}"
    points = _library_distances(features, real) if by_library else None
    summary: dict[str, Any] = {"models": {}, "delta": {}}
    for model in list(features)[1:]:
        comparison = compare_fidelity(
            real,
            features["base"],
            features[model],
            prompts,
            make_numpy_generator(config.seed, name),
            resamples=config.resamples,
            points=None if points is None else [points["base"], points[model]],
        )
        summary["models"].setdefault("base", {name: comparison.base.as_dict()})
        summary["models"][model] = {name: comparison.tuned.as_dict()}
        if model == "tuned":
            summary["delta"] = {
                name: comparison.difference.as_dict(),
                f"{metric}_ratio{part}": comparison.ratio.as_dict(),
            }
    return summary


def _library_distances(features: Mapping[str, np.ndarray], real: np.ndarray) -> dict[str, float]:
    from comat_core.metrics.fid import library_distance  # whose import takes seconds

    return {model: library_distance(real, rows) for model, rows in features.items()}
