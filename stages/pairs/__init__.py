"""The pairs stage: real images with captions, as latents, for the mixed latent strategy.

Writes `index.parquet` (pair_id, caption, shard, row), and per shard `latents/00000.safetensors` with one tensor
"latents" (N, C, h, w) in float16, drawn from the autoencoder's posterior in the denoiser's scale.
"""

import io
import math
import random
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import Field, model_validator

from comat_core.settings import Precision
from comat_core.support.errors import UserError
from data.real_images.coco_folder import CocoFolder
from data.real_images.real_pairs import MiniatureWorld, PairSource, RealPair
from data.real_images.webdataset import WebDatasetShards
from stages.batches import BatchSize, batches, in_parts
from stages.images.image_checks import check_all
from stages.models.devices import AUTO, choose_device
from stages.models.model_references import Checkpoint, ImageFolder, Vae
from stages.pairs.tables import INDEX, INDEX_OF_SHARDS
from stages.plan.config import NOT_IN_KEY, StageConfig
from stages.plan.digests import digest_json
from stages.plan.stage import Inputs, ShardedStage
from stages.store.artifact_writer import ArtifactWriter
from stages.store.latent_shards import shard_file, write_shard

if TYPE_CHECKING:
    from PIL import Image
    from torch import Tensor


class PairsConfig(StageConfig):
    """Where the real images come from, and how they become latents."""

    seed: int = Field(ge=0, lt=2**63, description="of the run: choice of pairs and captions, the posterior's noise")
    resolution: int = Field(ge=8, le=4096, description="pixels per side of an image")
    base: Checkpoint = Field(description="the text-to-image checkpoint, for its autoencoder")
    vae: Vae = None
    source: Literal["miniature world", "coco", "webdataset"] = Field(
        "miniature world", description="drawn scenes, a folder in COCO's layout, or a folder of WebDataset .tar files"
    )
    folder: Annotated[ImageFolder, NOT_IN_KEY] = Field(None, description="the data set's local folder")
    annotations: str = Field(
        "annotations/captions_train2014.json", min_length=1, description="coco: captions' file below the folder"
    )
    images: str = Field("train2014", min_length=1, description="coco: images' folder below the folder")
    count: int | None = Field(2000, ge=1, description="pairs drawn from the source; null takes all")
    crop: Literal["centre", "none"] = Field("centre", description="cut out the middle square, or squeeze the image")
    precision: Precision = Field("fp32", description="of the autoencoder's weights")
    shard_size: int = Field(1024, ge=1, le=100_000, description="pairs per shard")
    batch_size: BatchSize = Field(16, description="images encoded together; auto takes as many as fit")
    device: Annotated[str, NOT_IN_KEY] = Field(AUTO, min_length=1, description="torch device; auto takes a GPU")

    @model_validator(mode="after")
    def _source_is_complete(self) -> "PairsConfig":
        if self.source == "miniature world" and self.count is None:
            raise ValueError("the miniature world has no end: it needs a count")
        if self.source != "miniature world" and self.folder is None:
            raise ValueError(f"source {self.source} needs a folder")
        return self

    def key_payload(self) -> dict[str, Any]:
        return {**super().key_payload(), "folder": digest_json(_open(self).identity())}

    def fetch_files(self) -> None:
        if self.source != "miniature world":
            source = _open(self)
            check_all(source.read, _chosen(self, source), "Checking pairs")


def count_shards(config: PairsConfig, inputs: Inputs) -> int:  # noqa: ARG001  every stage takes its inputs
    """Number of shards that the pairs fill."""
    return math.ceil(len(_chosen(config, _open(config))) / config.shard_size)


def build_shard(config: PairsConfig, inputs: Inputs, writer: ArtifactWriter, index: int) -> None:  # noqa: ARG001
    """Encode the images of one shard."""
    import torch

    from comat_core.backbones.loading import load_backbone
    from comat_core.support.precisions import PRECISIONS
    from comat_core.support.randomness import make_generator

    source = _open(config)
    numbers = in_parts(_chosen(config, source), config.shard_size)[index]
    model = load_backbone(
        config.base.resolve(),
        revision=config.base.revision,
        vae=config.vae.resolve() if config.vae else None,
        vae_revision=config.vae.revision if config.vae else None,
        dtype=PRECISIONS[config.precision],
    )
    model.vae.to(choose_device(config.device))  # nothing else of the model is called
    latents: list[Tensor] = []
    rows: list[dict[str, Any]] = []
    for batch in batches(numbers, config.batch_size, f"Pairs, shard {index + 1}"):
        pairs = [source.read(number) for number in batch]
        images = torch.stack([_as_tensor(pair.image, config.resolution, config.crop) for pair in pairs])
        generators = [make_generator(config.seed, "posterior", pair.pair_id) for pair in pairs]
        latents.append(model.encode_images(images, generators).half())
        rows += [
            {"pair_id": pair.pair_id, "caption": _choose_caption(config.seed, pair), "shard": shard_file(index)}
            for pair in pairs
        ]
    table = pa.Table.from_pylist(rows).append_column("row", pa.array(range(len(rows)), pa.int32()))
    write_shard(writer, index, torch.cat(latents))
    writer.write_table(f"{INDEX_OF_SHARDS}{index:05d}.parquet", table)


def build_rest(config: PairsConfig, inputs: Inputs, writer: ArtifactWriter) -> None:  # noqa: ARG001
    """Join the shards' indices."""
    parts = [pq.read_table(io.BytesIO(writer.read_bytes(name))) for name in writer.names(INDEX_OF_SHARDS)]
    writer.write_table(INDEX, pa.concat_tables(parts))


def _open(config: PairsConfig) -> PairSource:
    if config.source == "miniature world":
        assert config.count is not None
        return MiniatureWorld(config.seed, config.count, config.resolution)
    assert config.folder is not None
    folder = Path(config.folder.resolve())
    if config.source == "coco":
        return CocoFolder(folder, config.annotations, config.images)
    return WebDatasetShards(folder)


def _chosen(config: PairsConfig, source: PairSource) -> list[int]:
    """Numbers of the pairs that are used, drawn by the seed, ascending.

    Raises:
        UserError: the source has none, or fewer than asked for.
    """
    from comat_core.support.randomness import derive_seed

    total = len(source)
    if not total:
        where = str(config.folder.path) if config.folder else "pairs"
        raise UserError("there is no image with a caption", where, "check pairs.folder, and what pairs.source expects")
    if config.count is None or config.count == total:
        return list(range(total))
    if config.count > total:
        raise UserError(f"{total} pairs instead of {config.count}", "pairs.count", "lower it, or write null for all")
    return sorted(random.Random(derive_seed(config.seed, "choice of pairs")).sample(range(total), config.count))


def _choose_caption(seed: int, pair: RealPair) -> str:
    from comat_core.support.randomness import derive_seed

    return random.Random(derive_seed(seed, "caption of a pair", pair.pair_id)).choice(pair.captions)


def _as_tensor(image: "Image.Image", side: int, crop: str) -> "Tensor":
    """Resize to a square, (3, side, side) in [0, 1]."""
    import numpy as np
    import torch
    from PIL import Image, ImageOps

    if crop == "centre":
        square = ImageOps.fit(image, (side, side), Image.Resampling.BICUBIC)
    else:
        square = image.resize((side, side), Image.Resampling.BICUBIC)
    return torch.from_numpy(np.array(square)).permute(2, 0, 1).float() / 255


STAGE = ShardedStage(
    name="pairs",
    version=2,
    config_type=PairsConfig,
    count_shards=count_shards,
    build_shard=build_shard,
    build_rest=build_rest,
)
run = STAGE.run
