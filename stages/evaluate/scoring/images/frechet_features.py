"""What the Frechet distances have in common: their settings, and the features of real images."""

from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import numpy as np
import pyarrow as pa
from pydantic import Field

from stages.batches import batches, in_parts
from stages.evaluate.scoring.image_scores import part_name
from stages.evaluate.scoring.images.generated_images import REAL
from stages.evaluate.scoring.images.real_images import (
    RealImages,
    check_real_images,
    identity_of_files,
    read_real_images,
)
from stages.evaluate.scoring.settings import NOT_IN_SCORES, EvaluationConfig
from stages.plan.digests import digest_json
from stages.plan.stage import Inputs, ShardedStage
from stages.store.artifact_writer import ArtifactWriter

if TYPE_CHECKING:
    from torch import Tensor

FEATURES = ("features", pa.list_(pa.float32()))
"""The column of the items table."""

REAL_IMAGES_PER_SHARD = 1024
FEWEST = 2
"""Images that a distribution can be fitted to."""


class FeaturesConfig(EvaluationConfig):
    """Settings of every distance between generated and real images."""

    split: ClassVar[str] = "fidelity"
    beside_features: ClassVar[str] = ""
    """The setting that features and distances do not depend on."""

    real: Annotated[RealImages, NOT_IN_SCORES] = Field(default=RealImages(), description="the real images")
    resolution: Annotated[int, NOT_IN_SCORES] = Field(
        ge=8, le=4096, description="pixels per side of real images, that of the generated ones"
    )
    seed: Annotated[int, NOT_IN_SCORES] = Field(
        ge=0, lt=2**63, description="of the bootstrap and of the miniature world's images"
    )
    resamples: Annotated[int, NOT_IN_SCORES] = Field(default=500, ge=100, le=100_000, description="bootstrap resamples")

    def real_payload(self) -> dict[str, Any]:
        """The JSON value that goes into the key of the real images' features."""
        networks = {
            name: value for name, value in self.scores_payload().items() if name not in ("skills", self.beside_features)
        }
        shown = {"count": self.real.count, "resolution": self.resolution, "files": identity_of_files(self.real)}
        world = {"seed": self.seed} if self.real.folder is None else {}
        return {**networks, "real": digest_json({**shown, **world})}

    def key_payload(self) -> dict[str, Any]:
        return {**super().key_payload(), **self.real_payload()}

    def distances_payload(self) -> dict[str, Any]:
        """The JSON value that goes into the keys of distances."""
        return {name: value for name, value in self.key_payload().items() if name != self.beside_features}

    def fetch_networks(self) -> None:
        """Get the published weights of the networks.

        Raises:
            UserError: they cannot be had, or are damaged.
        """
        raise NotImplementedError

    def fetch_files(self) -> None:
        check_real_images(self.real)
        self.fetch_networks()


def as_bytes(pixels: "Tensor") -> "Tensor":
    """Decoded images in [0, 1] as what networks of features take."""
    return (pixels * 255).round().byte()


def real_features(
    *,
    benchmark: str,
    version: int,
    config_type: type[FeaturesConfig],
    schema: pa.Schema,
    extract: "Callable[[Any, Iterator[Tensor]], list[dict[str, Any]]]",
) -> ShardedStage:
    """Make the stage that extracts the features of the real images, once for all models that are held against them.

    Args:
        schema: of the items table.
        extract: (config, batches of images) -> its rows.
    """

    def count_shards(config: FeaturesConfig, _inputs: Inputs) -> int:
        return len(_real_parts(config))

    def build_shard(config: FeaturesConfig, _inputs: Inputs, writer: ArtifactWriter, index: int) -> None:
        rows = extract(config, _real_batches(config, _real_parts(config)[index]))
        writer.write_table(part_name(index), pa.Table.from_pylist(rows, schema=schema))

    return ShardedStage(
        name=f"scores.{benchmark}.{REAL}",
        version=version,
        config_type=config_type,
        payload=config_type.real_payload,
        count_shards=count_shards,
        build_shard=build_shard,
    )


def _real_parts(config: FeaturesConfig) -> Sequence[Sequence[int]]:
    return in_parts(range(config.real.count), REAL_IMAGES_PER_SHARD)


def _real_batches(config: FeaturesConfig, numbers: Sequence[int]) -> "Iterator[Tensor]":
    """The real images of these numbers, (B, 3, H, W) of bytes at a time, under a progress bar."""
    import torch

    images = read_real_images(config.real, config.seed, config.resolution, numbers)
    for batch in batches(numbers, config.batch_size, "Real images"):
        pixels = np.stack(list(islice(images, len(batch))))
        yield torch.from_numpy(pixels).permute(0, 3, 1, 2)
