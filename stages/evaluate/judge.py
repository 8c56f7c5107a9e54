"""Object and attribute accuracy by the independent judge.

Scores are rows of (prompt_id, sample, the metrics, and the pairs that the judge sees).
Prompts that name no shape of the judge's are left out.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import pyarrow as pa
from pydantic import Field

from stages.devices import choose_device
from stages.evaluate.images.generated_images import GeneratedImage, Prompt
from stages.evaluate.scoring.comparisons import compare_items, comparison
from stages.evaluate.scoring.image_scores import identity_of, image_scores, in_batches, item_schema
from stages.evaluate.scoring.models_in_memory import loaded
from stages.evaluate.scoring.settings import EvaluationConfig
from stages.plan.config import ModelReference
from stages.plan.stage import Inputs
from stages.store.artifacts import ArtifactWriter

METRICS = ("object_accuracy", "attribute_accuracy", "all_right", "exact")

ITEM_SCHEMA = item_schema(("seen", pa.list_(pa.string())), *((metric, pa.float64()) for metric in METRICS))


class JudgeConfig(EvaluationConfig):
    """Settings of the judge's scores."""

    judge: ModelReference = Field(description='a multi-label ResNet classifier of "colour shape" pairs')


def score_images(
    config: JudgeConfig, images: Sequence[GeneratedImage], prompts: Mapping[str, Prompt]
) -> list[dict[str, Any]]:
    """Judge every image whose prompt names a shape; return one row of the items table for each."""
    from comat_core.scorers.judge import PRESENT, Judge, score_image

    device = choose_device(config.device)
    judge = loaded(Judge.load, config.judge.resolve(), revision=config.judge.revision, device=device)
    required = {key: judge.vocabulary.required_objects(prompt.text) for key, prompt in prompts.items()}
    judged = [image for image in images if required[image.prompt_id]]
    items = []
    for batch, pixels in in_batches(judged, config.batch_size, "Judge"):
        probabilities, _ = judge.look_at(pixels)
        for image, row in zip(batch, probabilities, strict=True):
            pairs = judge.as_pairs(row)
            seen = [" ".join(pair) for pair, value in pairs.items() if value > PRESENT]
            items.append({**identity_of(image), "seen": seen, **asdict(score_image(pairs, required[image.prompt_id]))})
    return items


def compare(config: JudgeConfig, inputs: Inputs, writer: ArtifactWriter) -> None:
    """Join the models' items and summarise them."""
    protocol = "independent multi-label classifier of colour-shape pairs, present above probability 0.5"
    compare_items(config, inputs, writer, METRICS, benchmark="judge", protocol=protocol)


SCORES = image_scores(
    benchmark="judge",
    version=1,
    config_type=JudgeConfig,
    schema=ITEM_SCHEMA,
    score=score_images,
)
STAGE = comparison(
    benchmark="judge",
    version=4,
    config_type=JudgeConfig,
    compare=compare,
)
