"""Numeracy by T2I-CompBench++: is each object that the prompt counts there, and as many times as it says?

Prompts that count nothing have no score.

Writes `items/*.parquet` (model, prompt_id, sample, wanted, boxes, numeracy) and `summary.json`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import pyarrow as pa
from pydantic import Field

from comat_core.metrics.numeracy import COUNTED_NOUNS, detector_word, numeracy_score, read_counts
from comat_core.metrics.spatial import Mode
from stages.evaluate.images.generated_images import GeneratedImage, Prompt
from stages.evaluate.objects.detected_boxes import BOX, DetectedBoxesConfig, detect_objects
from stages.evaluate.scoring.image_evaluation import identity_of, image_evaluation, item_schema, summarise_parts
from stages.evaluate.scoring.parsed_prompts import parse_prompts
from stages.plan.stage import Inputs
from stages.store.artifacts import ArtifactWriter

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


def build_rest(config: NumeracyConfig, inputs: Inputs, writer: ArtifactWriter) -> None:
    """Join the shards and summarise them."""
    protocol = f"T2I-CompBench++'s numeracy ({config.mode} mode), objects by {config.detector.kind} from"
    protocol += f" {config.detector.threshold}, not UniDet: not comparable with published scores"
    summarise_parts(config, inputs, writer, [METRIC], benchmark=METRIC, protocol=protocol)


STAGE = image_evaluation(
    name="evaluate.numeracy",
    version=2,
    config_type=NumeracyConfig,
    schema=ITEM_SCHEMA,
    score=score_images,
    build_rest=build_rest,
)
run = STAGE.run
