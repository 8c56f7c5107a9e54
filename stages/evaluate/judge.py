"""Object and attribute accuracy by the independent judge.

Scores are rows of (prompt_id, sample, the metrics, and the pairs that the judge sees).
Prompts that name no shape of the judge's are left out.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import pyarrow as pa
from pydantic import Field

from stages.evaluate.declared.benchmark import Benchmark, Metric, ScoredItem
from stages.evaluate.scoring.comparisons import compare_items, comparison
from stages.evaluate.scoring.image_scores import identity_of, image_scores, in_batches, item_schema
from stages.evaluate.scoring.images.generated_images import GeneratedImage, Prompt
from stages.evaluate.scoring.models_in_memory import in_precision, loaded_model
from stages.evaluate.scoring.settings import EvaluationConfig, ScorerPrecision
from stages.plan.config import ModelReference
from stages.plan.stage import Inputs
from stages.store.artifact_writer import ArtifactWriter

METRICS = ("object_accuracy", "attribute_accuracy", "all_right", "exact", "exchanged")

ITEM_SCHEMA = item_schema(("seen", pa.list_(pa.string())), *((metric, pa.float64()) for metric in METRICS))


class JudgeConfig(EvaluationConfig):
    """Settings of the judge's scores."""

    judge: ModelReference = Field(description='a multi-label ResNet classifier of "colour shape" pairs')
    precision: ScorerPrecision = "fp32"


def score_images(
    config: JudgeConfig, images: Sequence[GeneratedImage], prompts: Mapping[str, Prompt]
) -> list[dict[str, Any]]:
    """Judge every image whose prompt names a shape; return one row of the items table for each."""
    from comat_core.scorers.judge import PRESENT, Judge, score_image

    judge = loaded_model(Judge.load, config.judge, config.device, **in_precision(config.precision))
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


def explain_item(item: ScoredItem) -> list[str]:
    """What the judge sees in an image."""
    return [f"the judge sees: {', '.join(item['seen']) or 'nothing'}"]


SCORES = image_scores(
    benchmark="judge",
    version=2,
    config_type=JudgeConfig,
    schema=ITEM_SCHEMA,
    score=score_images,
)
STAGE = comparison(
    benchmark="judge",
    version=5,
    config_type=JudgeConfig,
    compare=compare,
)
BENCHMARK = Benchmark(
    name="judge",
    place=110,
    metrics=(
        Metric(
            name="object_accuracy",
            label="Objects",
            meaning="share of the prompt's shapes that the judge sees, in any colour",
            is_drawn=True,
        ),
        Metric(
            name="attribute_accuracy",
            label="Objects as described",
            meaning="share of the prompt's objects that the judge sees as described",
            ranking=30,
        ),
        Metric(
            name="all_right",
            label="All objects right",
            meaning="share of images in which the judge sees every object as described",
            headline=10,
            title="All objects right, by the judge",
            ranking=20,
            in_prompt_table=True,
            is_drawn=True,
        ),
        Metric(
            name="exact",
            label="Right, nothing else",
            meaning="share of images with all objects right and no further pair",
        ),
        Metric(
            name="exchanged",
            label="Colours exchanged",
            meaning="share of images in which the judge sees the prompt's two objects with each other's colours",
            higher_is_better=False,
        ),
    ),
    scores=SCORES,
    explain_item=explain_item,
)
