"""Fidelity: how far generated images lie from real ones, by the features of several networks at once.

As FID-10K does with COCO: the prompts (split "fidelity") are captions of real images, and all models' images of them
are compared with real images. One network's features see only what it was trained to tell, and a network that training
has looked at can be fooled by it; so several measure, and the headline is one that is neither the judge nor part of the
training. Values of one extractor compare with each other only; what real images score among themselves gives the scale.

Scores are rows of (prompt_id, sample, extractor, count, features: those of all its items, one after the other); real
images have the same without the first two. `summary.json` has, besides "frechet_distance/<extractor>", "density/…" and
"coverage/…", their ratios in "delta" ("frechet_distance_ratio/…"), the real images' own scores in "real_to_real", what
is known of each extractor in "extractors", and the "headline".
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Self

import pyarrow as pa
from pydantic import Field, ValidationInfo, field_validator, model_validator

from stages.evaluate.declared.benchmark import Benchmark, Metric
from stages.evaluate.scoring.comparisons import comparison, write_summary
from stages.evaluate.scoring.image_scores import identity_of, image_scores, in_batches, item_schema
from stages.evaluate.scoring.images.distances import distances_among_real, model_distances
from stages.evaluate.scoring.images.feature_extractors import AnyFeatures, Extractor, JudgeFeatures, extract
from stages.evaluate.scoring.images.fidelity_distances import DISTANCE, measure_model, measure_real
from stages.evaluate.scoring.images.fidelity_summary import summarise_fidelity
from stages.evaluate.scoring.images.frechet_features import FEATURES, FEWEST, FeaturesConfig, as_bytes, real_features
from stages.evaluate.scoring.images.generated_images import REAL, GeneratedImage, Prompt
from stages.evaluate.scoring.settings import NOT_IN_SCORES, reads_no_files
from stages.plan.config import ModelReference
from stages.plan.stage import Inputs
from stages.store.artifact_writer import ArtifactWriter

if TYPE_CHECKING:
    from torch import Tensor

FEATURE_COLUMNS = (("extractor", pa.string()), ("count", pa.int64()), FEATURES)
ITEM_SCHEMA = item_schema(*FEATURE_COLUMNS)
REAL_SCHEMA = pa.schema(FEATURE_COLUMNS)


class FidelityConfig(FeaturesConfig):
    """Settings of the fidelity distances."""

    beside_features: ClassVar[str] = "judge"

    judge: Annotated[ModelReference | None, NOT_IN_SCORES] = Field(
        default=None, description="the classifier that evaluate.judge scores with"
    )
    extractors: dict[Annotated[str, Field(pattern=r"^\w+$")], AnyFeatures] = Field(
        min_length=1, description="name -> the features that are compared; the first independent one is the headline"
    )
    neighbours: Annotated[int, NOT_IN_SCORES] = Field(
        default=5, ge=1, le=100, description="k of density and coverage: a real image reaches to its k-th nearest"
    )

    @field_validator("extractors")
    @classmethod
    def _judge_is_known(cls, extractors: dict[str, Any], info: ValidationInfo) -> dict[str, Any]:
        judge = info.data.get("judge")
        unknown = {name for name, one in extractors.items() if isinstance(one, JudgeFeatures) and one.model is None}
        if unknown and judge is None:
            raise ValueError(f"{min(unknown)} needs models.judge")
        filled = {name: extractors[name].model_copy(update={"model": judge}) for name in unknown}
        return {name: filled.get(name, one) for name, one in extractors.items()}

    @model_validator(mode="after")
    def _real_images_can_be_halved(self) -> Self:
        if self.real.count < self.fewest_real:
            raise ValueError(f"real.count must be at least {self.fewest_real} with {self.neighbours} neighbours")
        return self

    @property
    def fewest_real(self) -> int:
        """Each half of the real images is a distribution, and its images have neighbours in it."""
        return 2 * max(FEWEST, self.neighbours + 1)

    def fetch_networks(self) -> None:
        for features in self.extractors.values():
            published = features.published_file()
            if published is not None:
                published.fetch()


def score_images(
    config: FidelityConfig, images: Sequence[GeneratedImage], _prompts: Mapping[str, Prompt]
) -> list[dict[str, Any]]:
    """Extract the features of generated images; return one row of the items table for each image and extractor."""
    extractors, rows = _load(config), []
    for batch, pixels in in_batches(images, config.batch_size, "Features"):
        found = _rows_of(extractors, as_bytes(pixels))
        rows += [{**identity_of(batch[place]), **row} for place, row in found]
    return rows


def extract_real(config: FidelityConfig, batches: "Iterator[Tensor]") -> list[dict[str, Any]]:
    """Extract the features of real images; return one row for each image and extractor."""
    extractors = _load(config)
    return [row for images in batches for _, row in _rows_of(extractors, images)]


def compare(config: FidelityConfig, inputs: Inputs, writer: ArtifactWriter) -> None:
    """Put every model's distances side by side."""
    write_summary(writer, summarise_fidelity(config, inputs), inputs)


def _load(config: FidelityConfig) -> dict[str, Extractor]:
    return {name: features.load(config.device) for name, features in config.extractors.items()}


def _rows_of(extractors: Mapping[str, Extractor], images: "Tensor") -> Iterator[tuple[int, dict[str, Any]]]:
    """Place of an image (B, 3, H, W) in its batch, and what an extractor finds in it."""
    for name, found in zip(extractors, extract(list(extractors.values()), images), strict=True):
        for place, items in enumerate(found):
            yield place, {"extractor": name, "count": len(items), "features": items.flatten().numpy()}


SCORES = image_scores(
    benchmark="fidelity",
    version=1,
    config_type=FidelityConfig,
    schema=ITEM_SCHEMA,
    score=score_images,
    fetch=FidelityConfig.fetch_networks,
)
REAL_SCORES = real_features(
    benchmark="fidelity", version=1, config_type=FidelityConfig, schema=REAL_SCHEMA, extract=extract_real
)
DISTANCES = model_distances(benchmark="fidelity", version=1, config_type=FidelityConfig, measure=measure_model)
REAL_DISTANCES = distances_among_real(benchmark="fidelity", version=1, config_type=FidelityConfig, measure=measure_real)
STAGE = comparison(
    benchmark="fidelity",
    version=7,
    config_type=FidelityConfig,
    compare=compare,
    more_inputs=(REAL,),
    optional_inputs=("train",),
    fetch=reads_no_files,
)
BENCHMARK = Benchmark(
    name="fidelity",
    place=120,
    split=FidelityConfig.split,
    metrics=(
        Metric(
            name=DISTANCE,
            label="Fréchet distance",
            meaning="of generated to real images; lower is better",
            higher_is_better=False,
            of_features=True,
            headline=30,
        ),
        Metric(
            name=f"{DISTANCE}_ratio",
            label="Fréchet ratio to base",
            meaning="the tuned model's distance to real images over the base model's",
            higher_is_better=False,
            of_features=True,
        ),
        Metric(
            name="density",
            label="Density",
            meaning="how many real images' neighbourhoods a generated image lies in, over k",
            of_features=True,
        ),
        Metric(
            name="coverage",
            label="Coverage",
            meaning="share of real images with a generated one in their neighbourhood",
            of_features=True,
        ),
    ),
    scores=SCORES,
    real_scores=REAL_SCORES,
    distances=DISTANCES,
    real_distances=REAL_DISTANCES,
    inputs={"train": "train"},
    of_single_images=False,
)
