"""FID against real images, by torchmetrics, with CLIPScore over the same images.

FID-10K draws one image for each of 10,000 captions of COCO's val2014, which are prompts of the split "fidelity", and
compares them with images of val2014. FID depends on the number of images, on how they are resized and on the network,
so the protocol line names all three, and a distance on features of another network than Inception is not called FID.

Scores are rows of (prompt_id, sample, features, clip_score), and of features alone for the real images.
"""

from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self

import numpy as np
import pyarrow as pa
from pydantic import Field, model_validator

from comat_core.settings import Settings
from data.downloading.downloads import PublishedFile
from stages.evaluate.declared.benchmark import Benchmark, Metric
from stages.evaluate.scoring.comparisons import comparison, join_items, write_summary
from stages.evaluate.scoring.image_scores import identity_of, image_scores, in_batches, item_schema
from stages.evaluate.scoring.images.distances import compare_distances, features_of, model_distances
from stages.evaluate.scoring.images.feature_extractors import Inception, Network
from stages.evaluate.scoring.images.frechet_features import (
    FEATURES,
    FeaturesConfig,
    as_bytes,
    real_features,
)
from stages.evaluate.scoring.images.generated_images import GeneratedImage, Prompt
from stages.evaluate.scoring.models_in_memory import loaded_model
from stages.evaluate.scoring.settings import NOT_IN_SCORES, chosen_prompts, reads_no_files, skills_of
from stages.evaluate.scoring.summaries import summarise_items
from stages.models.devices import choose_device
from stages.plan.config import NOT_IN_KEY, ModelReference
from stages.plan.stage import Inputs
from stages.store.artifact_writer import ArtifactWriter

if TYPE_CHECKING:
    from torch import Tensor

    from comat_core.metrics.bootstrap import Resampled
    from comat_core.scorers.clip_score import ClipScorer

FID = "fid"
OTHER_NETWORK = "frechet_distance"
CLIP_SCORE = "clip_score"
FID_10K = 10_000

ITEM_SCHEMA = item_schema(FEATURES, (CLIP_SCORE, pa.float64()))
REAL_SCHEMA = pa.schema([FEATURES])


class ExtractorSettings(Settings):
    """The network whose features are compared."""

    kind: Annotated[
        Literal["inception", "transformers"],
        Field(description="FID's Inception, which needs torch-fidelity installed; or an image model of transformers"),
    ] = "inception"
    weights: Annotated[
        Path | None, NOT_IN_KEY, Field(description="inception: its weights, a local file; none downloads them")
    ] = None
    sha256: Annotated[
        str | None,
        Field(pattern="^[0-9a-f]{64}$", description="inception: of the weights' file; none means the published one"),
    ] = None
    antialias: Annotated[
        bool, Field(description="inception: antialias when resizing to 299 px; FID is mostly published without")
    ] = False
    model: Annotated[
        ModelReference | None, Field(description="transformers: DINOv2, CLIP, a ResNet, …, folder or hub id")
    ] = None

    @model_validator(mode="after")
    def _has_what_its_kind_needs(self) -> Self:
        if (self.kind == "transformers") != (self.model is not None):
            raise ValueError("model belongs to the extractor transformers, which needs it")
        if self.sha256 is not None and self.weights is None:
            raise ValueError("sha256 belongs to weights of your own: name their file")
        return self

    def load(self, device: str) -> Network:
        """Load the network.

        Raises:
            UserError: its weights are missing, cannot be had, or are others than those meant.
        """
        from comat_core.scorers.image_features import PooledFeatures

        if self.model is None:
            return self._inception().load_network(device)
        return loaded_model(PooledFeatures.load, self.model, device)

    def published_file(self) -> PublishedFile | None:
        """What is downloaded; None where the network comes from elsewhere."""
        return self._inception().published_file() if self.model is None else None

    def _inception(self) -> Inception:
        return Inception(weights=self.weights, sha256=self.sha256, antialias=self.antialias)

    def __str__(self) -> str:
        return str(self._inception()) if self.model is None else f"pooled features of {self.model.path}"


class FidConfig(FeaturesConfig):
    """Settings of FID."""

    beside_features: ClassVar[str] = "clip"

    extractor: ExtractorSettings = Field(default=ExtractorSettings(), description="the network")
    clip: ModelReference | None = Field(
        default=ModelReference(path="openai/clip-vit-base-patch32"),
        description="a CLIP for CLIPScore, folder or hub id; none leaves CLIPScore out",
    )
    resamples: Annotated[int, NOT_IN_SCORES] = Field(
        default=100, ge=100, le=100_000, description="bootstrap resamples; one of FID-10K takes seconds"
    )

    def fetch_networks(self) -> None:
        published = self.extractor.published_file()
        if published is not None:
            published.fetch()


def score_images(
    config: FidConfig, images: Sequence[GeneratedImage], prompts: Mapping[str, Prompt]
) -> list[dict[str, Any]]:
    """Extract the features of generated images, and score them with CLIP; return one row of the items table each."""
    network, scorer = config.extractor.load(config.device), _load_clip(config)
    device = choose_device(config.device)
    items: list[dict[str, Any]] = []
    for batch, pixels in in_batches(images, config.batch_size, "Features"):
        features = network(as_bytes(pixels)).cpu().numpy()
        rows = [{**identity_of(image), "features": row} for image, row in zip(batch, features, strict=True)]
        if scorer is not None:
            scores = scorer.score(pixels.to(device), [prompts[image.prompt_id].text for image in batch]).tolist()
            rows = [{**row, CLIP_SCORE: score} for row, score in zip(rows, scores, strict=True)]
        items += rows
    return items


def extract_real(config: FidConfig, batches: "Iterator[Tensor]") -> list[dict[str, Any]]:
    """Extract the features of real images; return one row for each."""
    network = config.extractor.load(config.device)
    return [{"features": row} for images in batches for row in network(images).cpu().numpy()]


def measure(config: FidConfig, items: pa.Table, real_items: pa.Table) -> "dict[str, Resampled]":
    """Measure a model's distance to the real images; torchmetrics says what it is, the interval around it is ours."""
    from comat_core.metrics.bootstrap import make_numpy_generator
    from comat_core.metrics.distances.fid import library_distance  # whose import takes seconds
    from comat_core.metrics.distances.frechet_comparison import measure_distance

    features, prompts = features_of(items, "fid")
    real, name = np.stack(real_items["features"].to_numpy()), distance_name(config)
    generator, point = make_numpy_generator(config.seed, name), library_distance(real, features)
    return {name: measure_distance(real, features, prompts, generator, resamples=config.resamples, point=point)}


def distance_name(config: FidConfig) -> str:
    """What the distance is called: FID is that of Inception's features alone."""
    return FID if config.extractor.kind == "inception" else OTHER_NETWORK


def compare(config: FidConfig, inputs: Inputs, writer: ArtifactWriter) -> None:
    """Put every model's distance beside its CLIPScore, and summarise."""
    items = join_items(inputs, "fid")
    distances = compare_distances(inputs, distance_name(config))
    clip_scores = summarise_items(
        items,
        [CLIP_SCORE],
        benchmark="fid",
        protocol=describe(config, len(items) // len(distances["models"])),
        skills=skills_of(chosen_prompts(config, inputs)),
        seed=config.seed,
        resamples=config.resamples,
    )
    models = {name: {**scores, **clip_scores["models"][name]} for name, scores in distances["models"].items()}
    delta = {**distances["delta"], **clip_scores["delta"]}
    write_summary(writer, {**clip_scores, "models": models, "delta": delta}, inputs)


def describe(config: FidConfig, count: int) -> str:
    """The protocol in one line.

    Args:
        count: how many images of each model are compared.
    """
    inception = config.extractor.kind == "inception"
    if inception and count == FID_10K:
        name = "FID-10K"
    else:
        name = f"{'FID' if inception else 'Frechet distance'} at N = {count:,}, not comparable with another N"
    source = "images of the miniature world" if config.real.folder is None else "real images cut to their middle square"
    parts = [
        f"{name}, by torchmetrics {version('torchmetrics')}: {config.extractor}",
        f"against {config.real.count:,} {source}, at {config.resolution} px",
    ]
    if config.clip is not None:
        parts.append(f"CLIPScore: cosine by {config.clip.path}")
    return "; ".join(parts)


def _load_clip(config: FidConfig) -> "ClipScorer | None":
    if config.clip is None:
        return None
    from comat_core.scorers.clip_score import ClipScorer

    return loaded_model(ClipScorer.load, config.clip, config.device)


SCORES = image_scores(
    benchmark="fid",
    version=1,
    config_type=FidConfig,
    schema=ITEM_SCHEMA,
    score=score_images,
    fetch=FidConfig.fetch_networks,
)
REAL_SCORES = real_features(benchmark="fid", version=1, config_type=FidConfig, schema=REAL_SCHEMA, extract=extract_real)
DISTANCES = model_distances(benchmark="fid", version=1, config_type=FidConfig, measure=measure)
STAGE = comparison(
    benchmark="fid",
    version=3,
    config_type=FidConfig,
    compare=compare,
    fetch=reads_no_files,
)
BENCHMARK = Benchmark(
    name="fid",
    place=130,
    split=FidConfig.split,
    metrics=(
        Metric(
            name=FID,
            label="FID",
            meaning="Fréchet distance to real images on Inception's features; lower is better",
            higher_is_better=False,
            digits=2,
            headline=40,
        ),
    ),
    scores=SCORES,
    real_scores=REAL_SCORES,
    distances=DISTANCES,
    of_single_images=False,
)
