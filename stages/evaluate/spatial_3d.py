"""3D-spatial relations by T2I-CompBench++: does one object stand in front of the other, or behind it, or hidden by it?

Objects are a detector's boxes, their distance a depth model's. Prompts that do not name two objects and how they stand
have no score in the corrected mode, and 0 in the official one.

Scores are rows of (prompt_id, sample, nouns, locality, boxes, spatial_3d).
"""

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import Field

from comat_core.language.spatial_prompts import Relation, read_relation
from comat_core.metrics.spatial import FRAME, Mode
from comat_core.metrics.spatial_3d import LOCALITIES, label_of, spatial_3d_score
from stages.evaluate.declared.benchmark import Benchmark, Metric
from stages.evaluate.scoring.comparisons import compare_items, comparison
from stages.evaluate.scoring.image_scores import image_scores
from stages.evaluate.scoring.images.generated_images import GeneratedImage, Prompt
from stages.evaluate.scoring.models_in_memory import loaded_model
from stages.evaluate.scoring.objects.detected_boxes import DetectedBoxesConfig, Names, detect_objects
from stages.evaluate.scoring.objects.related_objects import related_objects_item, related_objects_schema
from stages.evaluate.scoring.parsed_prompts import parse_prompts
from stages.plan.config import ModelReference
from stages.plan.stage import Inputs
from stages.store.artifact_writer import ArtifactWriter

METRIC = "spatial_3d"

ITEM_SCHEMA = related_objects_schema(METRIC)


class Spatial3dConfig(DetectedBoxesConfig):
    """Settings of the 3D-spatial score."""

    depth: ModelReference = Field(
        default=ModelReference(path="Intel/dpt-hybrid-midas", revision="11eaf7a1cf4bd70740697dbc216f98980c0aeb03"),
        description="a DPT for depth estimation, folder or hub id",
    )
    mode: Mode = Field(
        default="corrected",
        description="official repeats the authors' script, which reads depth with rows and columns exchanged, may take"
        " an object's worse box, gives an overlap of exactly a half nothing, and calls people persons",
    )


def score_images(
    config: Spatial3dConfig, images: Sequence[GeneratedImage], prompts: Mapping[str, Prompt]
) -> list[dict[str, Any]]:
    """Find the nouns of every image's prompt and how near they are; return one row of the items table per image."""
    from comat_core.scorers.depth import DepthEstimator

    docs = parse_prompts(prompts, config.parser)
    relations = {key: read_relation(doc, config.mode, localities=LOCALITIES) for key, doc in docs.items()}
    names = {key: _names_to_find(relation, config.mode) for key, relation in relations.items()}
    depth = loaded_model(DepthEstimator.load, config.depth, config.device)
    items = []
    for batch, pixels, found in detect_objects(images, names, config, "3D-spatial relations"):
        nearness = depth.nearness(pixels, FRAME).numpy()
        for image, boxes, near in zip(batch, found, nearness, strict=True):
            relation = relations[image.prompt_id]
            score = None if config.mode == "corrected" else 0.0
            if relation is not None and (config.mode == "official" or relation.locality is not None):
                score = spatial_3d_score(boxes, relation.nouns, relation.locality, near, config.mode)
            items.append(related_objects_item(image, relation, boxes, METRIC, score))
    return items


def _names_to_find(relation: Relation | None, mode: Mode) -> Names:
    nouns = () if relation is None else relation.nouns
    # The official detector has no labels with capitals, and the official reading keeps the prompt's.
    labels = [label_of(noun, mode) for noun in nouns if noun == noun.lower()]
    return dict(zip(labels, labels, strict=True))


def compare(config: Spatial3dConfig, inputs: Inputs, writer: ArtifactWriter) -> None:
    """Join the models' items and summarise them."""
    protocol = f"T2I-CompBench++'s 3D-spatial geometry ({config.mode} mode), depth by {config.depth.path}, boxes by"
    protocol += f" {config.detector.kind} from {config.detector.threshold}, not UniDet: not comparable with published"
    protocol += " scores"
    compare_items(config, inputs, writer, [METRIC], benchmark=METRIC, protocol=protocol)


SCORES = image_scores(
    benchmark="spatial_3d",
    version=1,
    config_type=Spatial3dConfig,
    schema=ITEM_SCHEMA,
    score=score_images,
)
STAGE = comparison(
    benchmark="spatial_3d",
    version=3,
    config_type=Spatial3dConfig,
    compare=compare,
)
BENCHMARK = Benchmark(
    name=METRIC,
    place=40,
    metrics=(
        Metric(
            name=METRIC,
            label="3D relations",
            meaning="both objects are there, and before or behind each other as the prompt says",
            headline=80,
            skills=("3d_spatial",),
            in_prompt_table=True,
            is_drawn=True,
        ),
    ),
    scores=SCORES,
)
