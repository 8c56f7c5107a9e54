"""Fidelity: how far generated images lie from real ones, by the features of several networks at once.

As FID-10K does with COCO: the prompts (split "fidelity") are captions of real images, and all models' images of them
are compared with real images. One network's features see only what it was trained to tell, and a network that training
has looked at can be fooled by it; so several measure, and the headline is one that is neither the judge nor part of the
training. Values of one extractor compare with each other only; what real images score among themselves gives the scale.

Writes `items/*.parquet` (model, prompt_id, sample, extractor, count, features: those of all its items, one after the
other), `real.parquet` (extractor, features; without patches) and `summary.json`, which besides the scores
"frechet_distance/<extractor>", "density/…" and "coverage/…" has their ratios in "delta" ("frechet_distance_ratio/…"),
the real images' own in "real_to_real", what is known of each extractor in "extractors", and the "headline".
"""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Self

import numpy as np
import pyarrow as pa
from pydantic import Field, ValidationInfo, field_validator, model_validator

from stages.evaluate.images.feature_extractors import AnyFeatures, Extractor, JudgeFeatures, extract
from stages.evaluate.images.fidelity_summary import summarise_fidelity
from stages.evaluate.images.frechet_features import FEATURES, FEWEST, FeaturesConfig, as_bytes, real_batches
from stages.evaluate.images.generated_images import GeneratedImage, Prompt
from stages.evaluate.scoring.image_evaluation import identity_of, image_evaluation, in_batches, item_schema
from stages.evaluate.scoring.summaries import join_parts, write_summary
from stages.plan.config import ModelReference
from stages.plan.stage import Inputs
from stages.store.artifacts import ArtifactWriter

ITEM_SCHEMA = item_schema(("extractor", pa.string()), ("count", pa.int64()), FEATURES)


class FidelityConfig(FeaturesConfig):
    """Settings of the fidelity distances."""

    judge: ModelReference | None = Field(default=None, description="the classifier that evaluate.judge scores with")
    extractors: dict[Annotated[str, Field(pattern=r"^\w+$")], AnyFeatures] = Field(
        min_length=1, description="name -> the features that are compared; the first independent one is the headline"
    )
    neighbours: int = Field(
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

    def fetch_files(self) -> None:
        for features in self.extractors.values():
            published = features.published_file()
            if published is not None:
                published.fetch()


def score_images(
    config: FidelityConfig, images: Sequence[GeneratedImage], _prompts: Mapping[str, Prompt]
) -> list[dict[str, Any]]:
    """Extract the features of generated images; return one row of the items table for each image and extractor."""
    extractors = _load(config)
    rows = []
    for batch, pixels in in_batches(images, config.batch_size, "Features"):
        for name, found in zip(extractors, extract(list(extractors.values()), as_bytes(pixels)), strict=True):
            rows += [
                {**identity_of(image), "extractor": name, "count": len(items), "features": items.flatten().numpy()}
                for image, items in zip(batch, found, strict=True)
            ]
    return rows


def build_rest(config: FidelityConfig, inputs: Inputs, writer: ArtifactWriter) -> None:
    """Extract the features of the real images and compare."""
    items = join_parts(writer, "fidelity")
    real = _real_features(config)
    whole = {name: rows[:, 0] for name, rows in real.items() if rows.shape[1] == 1}
    kept = [{"extractor": name, "features": row} for name, rows in whole.items() for row in rows]
    schema = pa.schema([("extractor", pa.string()), FEATURES])
    writer.write_table("real.parquet", pa.Table.from_pylist(kept, schema=schema))
    write_summary(writer, summarise_fidelity(config, items, real, inputs["train"]), inputs)


def _load(config: FidelityConfig) -> dict[str, Extractor]:
    return {name: features.load(config.device) for name, features in config.extractors.items()}


def _real_features(config: FidelityConfig) -> dict[str, np.ndarray]:
    """Extractor -> items (M, n, D) of the real images."""
    extractors = _load(config)
    batches = [extract(list(extractors.values()), images) for images in real_batches(config)]
    return {
        name: np.concatenate([batch[number].numpy() for batch in batches]) for number, name in enumerate(extractors)
    }


STAGE = image_evaluation(
    name="evaluate.fidelity",
    version=5,
    config_type=FidelityConfig,
    schema=ITEM_SCHEMA,
    score=score_images,
    build_rest=build_rest,
    more_inputs=("train",),
)
run = STAGE.run
