"""Numeracy by T2I-CompBench++: is each object that the prompt counts there, and as many times as it says?

Prompts that count nothing have no score.

Scores are rows of (prompt_id, sample, wanted, boxes, numeracy).
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import pyarrow as pa
from pydantic import Field

from comat_core.metrics.numeracy import COUNTED_NOUNS, detector_word, numeracy_score, read_counts
from comat_core.metrics.spatial import Mode
from stages.evaluate.declared.benchmark import Benchmark, Metric
from stages.evaluate.scoring.comparisons import compare_items, comparison
from stages.evaluate.scoring.image_scores import identity_of, image_scores, item_schema
from stages.evaluate.scoring.images.generated_images import GeneratedImage, Prompt
from stages.evaluate.scoring.objects.detected_boxes import BOX, DetectedBoxesConfig, detect_objects
from stages.evaluate.scoring.parsed_prompts import parse_prompts
from stages.plan.stage import Inputs
from stages.store.artifact_writer import ArtifactWriter

METRIC = "numeracy"

ITEM_SCHEMA = item_schema(
    ("wanted", pa.list_(pa.struct([("noun", pa.string()), ("count", pa.int64())]))),
    ("boxes", pa.list_(BOX)),
    (METRIC, pa.float64()),
)


class NumeracyConfig(DetectedBoxesConfig):
    """Settings of the numeracy score."""

    mode: Mode = Field(
        default="corrected",
        description="official repeats the authors' script: objects stand right behind their number, and people, ships,"
        " goldfish and paintings go by other words, so that boys and women count together; corrected mends this, and"
        " reads more numbers",
    )
    nouns: tuple[str, ...] = Field(
        default=tuple(sorted(COUNTED_NOUNS)), min_length=1, description="the objects that count, in the singular"
    )


def score_images(
    config: NumeracyConfig, images: Sequence[GeneratedImage], prompts: Mapping[str, Prompt]
) -> list[dict[str, Any]]:
    """Count the objects of every image's prompt; return one row of the items table per image whose prompt counts."""
    docs = parse_prompts(prompts, config.parser)
    wanted = {key: counts for key, doc in docs.items() if (counts := read_counts(doc, config.mode, config.nouns))}
    words = {key: [detector_word(item.noun, config.mode) for item in counts] for key, counts in wanted.items()}
    names = {key: dict(zip(of_prompt, of_prompt, strict=True)) for key, of_prompt in words.items()}
    counting = [image for image in images if image.prompt_id in wanted]
    items = []
    for batch, _, found in detect_objects(counting, names, config, "Numeracy"):
        for image, boxes in zip(batch, found, strict=True):
            counts = wanted[image.prompt_id]
            items.append(
                {
                    **identity_of(image),
                    "wanted": [asdict(item) for item in counts],
                    "boxes": [vars(box) for box in boxes],
                    METRIC: numeracy_score(boxes, counts, config.mode),
                }
            )
    return items


def compare(config: NumeracyConfig, inputs: Inputs, writer: ArtifactWriter) -> None:
    """Join the models' items and summarise them."""
    protocol = f"T2I-CompBench++'s numeracy ({config.mode} mode), objects by {config.detector.kind} from"
    protocol += f" {config.detector.threshold}, not UniDet: not comparable with published scores"
    compare_items(config, inputs, writer, [METRIC], benchmark=METRIC, protocol=protocol)


SCORES = image_scores(
    benchmark="numeracy",
    version=1,
    config_type=NumeracyConfig,
    schema=ITEM_SCHEMA,
    score=score_images,
)
STAGE = comparison(
    benchmark="numeracy",
    version=3,
    config_type=NumeracyConfig,
    compare=compare,
)
BENCHMARK = Benchmark(
    name=METRIC,
    place=30,
    metrics=(
        Metric(
            name=METRIC,
            label="Numeracy",
            meaning="share of the prompt's kinds of objects that a detector finds in the right number",
            headline=70,
            skills=("numeracy",),
            in_prompt_table=True,
            is_drawn=True,
        ),
    ),
    scores=SCORES,
)
