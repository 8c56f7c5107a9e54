"""Spatial relations by the geometry of T2I-CompBench: are both objects there, and placed as the prompt says?

Prompts that do not name two objects and their places have no score in the corrected mode, and 0 in the official one.

Scores are rows of (prompt_id, sample, nouns, locality, boxes, spatial).
"""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from pydantic import Field

from comat_core.language.spatial_prompts import Relation, is_known_to_unidet, read_relation
from comat_core.metrics.spatial import Detection, Mode, detector_label, spatial_score
from stages.evaluate.declared.benchmark import Benchmark, Metric
from stages.evaluate.scoring.comparisons import compare_items, comparison
from stages.evaluate.scoring.image_scores import image_scores
from stages.evaluate.scoring.images.generated_images import GeneratedImage, Prompt
from stages.evaluate.scoring.objects.detected_boxes import DetectedBoxesConfig, Names, detect_objects
from stages.evaluate.scoring.objects.related_objects import related_objects_item, related_objects_schema
from stages.evaluate.scoring.parsed_prompts import parse_prompts
from stages.plan.stage import Inputs
from stages.store.artifact_writer import ArtifactWriter

METRIC = "spatial"
COMPLEX = "complex"
"""What the skills of complex prompts begin with."""

ITEM_SCHEMA = related_objects_schema(METRIC)


class SpatialConfig(DetectedBoxesConfig):
    """Settings of the spatial score."""

    mode: Mode = Field(
        default="corrected",
        description="official repeats the authors' script: nine nouns that their detector does not know score 0, and"
        " so does 'on top of'; corrected scores them",
    )
    names: Literal["noun", "phrase"] = Field(
        default="noun",
        description="what the detector is asked for: the bare noun, as in the official protocol, or the noun with its"
        " description, for detectors that tell objects apart by colour",
    )


def score_images(
    config: SpatialConfig, images: Sequence[GeneratedImage], prompts: Mapping[str, Prompt]
) -> list[dict[str, Any]]:
    """Find the nouns of every image's prompt; return one row of the items table per image."""
    docs = parse_prompts(prompts, config.parser)
    relations = {
        key: read_relation(doc, config.mode, is_complex=prompts[key].skill.startswith(COMPLEX))
        for key, doc in docs.items()
    }
    names = {key: _names_to_find(relation, config) for key, relation in relations.items()}
    items = []
    for batch, _, found in detect_objects(images, names, config, "Spatial relations"):
        for image, boxes in zip(batch, found, strict=True):
            relation = relations[image.prompt_id]
            score = _score(boxes, relation, config.mode)
            items.append(related_objects_item(image, relation, boxes, METRIC, score))
    return items


def compare(config: SpatialConfig, inputs: Inputs, writer: ArtifactWriter) -> None:
    """Join the models' items and summarise them."""
    protocol = f"T2I-CompBench's spatial geometry ({config.mode} mode), boxes of each {config.names} by"
    protocol += f" {config.detector.kind}, not UniDet: not comparable with published scores"
    compare_items(config, inputs, writer, [METRIC], benchmark=METRIC, protocol=protocol)


def _score(boxes: Sequence[Detection], relation: Relation | None, mode: Mode) -> float | None:
    if mode == "corrected" and (relation is None or relation.locality is None):
        return None
    return 0.0 if relation is None else spatial_score(boxes, relation.nouns, relation.locality, mode)


def _names_to_find(relation: Relation | None, config: SpatialConfig) -> Names:
    if relation is None:
        return {}
    labels = [detector_label(noun) for noun in relation.nouns]
    names = labels if config.names == "noun" else relation.phrases
    known = [config.mode == "corrected" or is_known_to_unidet(noun) for noun in relation.nouns]
    return {name: label for name, label, asked in zip(names, labels, known, strict=True) if asked}


SCORES = image_scores(
    benchmark="spatial",
    version=1,
    config_type=SpatialConfig,
    schema=ITEM_SCHEMA,
    score=score_images,
)
STAGE = comparison(
    benchmark="spatial",
    version=3,
    config_type=SpatialConfig,
    compare=compare,
)
BENCHMARK = Benchmark(
    name=METRIC,
    place=20,
    metrics=(
        Metric(
            name=METRIC,
            label="Spatial relations",
            meaning="both objects are there and placed as the prompt says",
            headline=50,
            skills=("spatial",),
            in_prompt_table=True,
            is_drawn=True,
        ),
    ),
    scores=SCORES,
)
