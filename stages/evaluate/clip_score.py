"""CLIPScore of every image with its prompt: T2I-CompBench's score of non-spatial relations, and part of 3-in-1.

Scores are rows of (prompt_id, sample, text, clip_score).
"""

from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa
from pydantic import Field

from stages.evaluate.declared.benchmark import Benchmark, Metric
from stages.evaluate.scoring.comparisons import compare_items, comparison
from stages.evaluate.scoring.image_scores import identity_of, image_scores, in_batches, item_schema
from stages.evaluate.scoring.images.generated_images import GeneratedImage, Prompt
from stages.evaluate.scoring.models_in_memory import in_precision, loaded_model
from stages.evaluate.scoring.parsed_prompts import ParsedPromptsConfig, parse_prompts
from stages.evaluate.scoring.settings import ScorerPrecision
from stages.models.devices import choose_device
from stages.plan.config import ModelReference
from stages.plan.stage import Inputs
from stages.store.artifact_writer import ArtifactWriter

METRIC = "clip_score"
COMPLEX = "complex"
"""What the skills of complex prompts begin with; the official script drops their adjectives."""

ITEM_SCHEMA = item_schema(("text", pa.string()), (METRIC, pa.float64()))


class ClipScoreConfig(ParsedPromptsConfig):
    """Settings of CLIPScore."""

    clip: ModelReference = Field(
        default=ModelReference(path="openai/clip-vit-base-patch32"), description="a CLIP, folder or hub id"
    )
    precision: ScorerPrecision = "fp32"


def score_images(
    config: ClipScoreConfig, images: Sequence[GeneratedImage], prompts: Mapping[str, Prompt]
) -> list[dict[str, Any]]:
    """Score every image; return one row of the items table for each."""
    from comat_core.scorers.clip_score import ClipScorer

    texts = scored_texts({image.prompt_id: prompts[image.prompt_id] for image in images}, config.parser)
    device = choose_device(config.device)
    scorer = loaded_model(ClipScorer.load, config.clip, config.device, **in_precision(config.precision))
    items = []
    for batch, pixels in in_batches(images, config.batch_size, "CLIPScore"):
        of_batch = [texts[image.prompt_id] for image in batch]
        scores = scorer.score(pixels.to(device), of_batch).tolist()
        rows = zip(batch, of_batch, scores, strict=True)
        items += [{**identity_of(image), "text": text, METRIC: score} for image, text, score in rows]
    return items


def compare(config: ClipScoreConfig, inputs: Inputs, writer: ArtifactWriter) -> None:
    """Join the models' items and summarise them."""
    protocol = f"cosine of image and prompt by {config.clip.path}, without adjectives in complex prompts"
    compare_items(config, inputs, writer, [METRIC], benchmark=METRIC, protocol=protocol)


def scored_texts(prompts: Mapping[str, Prompt], parser: str) -> dict[str, str]:
    """Prompt id -> what CLIP reads: the prompt; if it is complex, its words but for the adjectives."""
    texts = {key: prompt.text for key, prompt in prompts.items()}
    dense = {key: prompt for key, prompt in prompts.items() if prompt.skill.startswith(COMPLEX)}
    for key, doc in (parse_prompts(dense, parser) if dense else {}).items():
        texts[key] = " ".join(token.text for token in doc if token.pos_ != "ADJ")
    return texts


SCORES = image_scores(
    benchmark="clip_score",
    version=1,
    config_type=ClipScoreConfig,
    schema=ITEM_SCHEMA,
    score=score_images,
)
STAGE = comparison(
    benchmark="clip_score",
    version=2,
    config_type=ClipScoreConfig,
    compare=compare,
)
BENCHMARK = Benchmark(
    name=METRIC,
    place=50,
    metrics=(
        Metric(
            name=METRIC,
            label="CLIPScore",
            meaning="cosine of image and prompt as CLIP sees them",
            ranking=80,
            skills=("non_spatial",),
            in_prompt_table=True,
            is_drawn=True,
        ),
    ),
    scores=SCORES,
)
