"""Attribute binding by the T2I-CompBench BLIP-VQA protocol: is every noun phrase of the prompt in the image?

Prompts without a noun phrase have no score in the corrected mode, and 1 in the official one.

Scores are rows of (prompt_id, sample, questions, answers, attribute_binding).
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import pyarrow as pa
from pydantic import Field

from stages.batches import BatchSize
from stages.evaluate.declared.benchmark import Benchmark, Metric, ScoredItem
from stages.evaluate.scoring.comparisons import compare_items, comparison
from stages.evaluate.scoring.image_scores import identity_of, image_scores, in_question_batches, item_schema
from stages.evaluate.scoring.images.generated_images import GeneratedImage, Prompt, read_seen_in_training
from stages.evaluate.scoring.models_in_memory import in_precision, loaded_model
from stages.evaluate.scoring.parsed_prompts import ParsedPromptsConfig, parse_prompts
from stages.evaluate.scoring.settings import ScorerPrecision
from stages.plan.config import ModelReference
from stages.plan.stage import Inputs
from stages.store.artifact_writer import ArtifactWriter

if TYPE_CHECKING:
    from comat_core.metrics.attribute_binding import Reading, YesNoAnswerer

METRIC = "attribute_binding"

ITEM_SCHEMA = item_schema(
    ("questions", pa.list_(pa.string())), ("answers", pa.list_(pa.float64())), (METRIC, pa.float64())
)


class AttributesConfig(ParsedPromptsConfig):
    """Settings of the attribute binding score."""

    vqa: ModelReference = Field(description="a BLIP visual question answering model, folder or hub id")
    precision: ScorerPrecision = "fp32"
    mode: Literal["official", "corrected"] = Field(
        default="corrected",
        description="official asks about pronouns too, scores 1 without a phrase, squashes images to 480 px and cuts"
        " questions after 35 tokens; corrected leaves pronouns out, gives prompts without a phrase no score, uses the"
        " size the model was saved for and keeps questions whole",
    )


def score_prompted_images(
    config: AttributesConfig, images: Sequence[GeneratedImage], prompts: Mapping[str, Prompt]
) -> list[dict[str, Any]]:
    """Ask every image about its prompt's noun phrases; return one row of the items table per image."""
    from comat_core.metrics.attribute_binding import noun_phrases, question_about

    docs = parse_prompts({image.prompt_id: prompts[image.prompt_id] for image in images}, config.parser)
    questions = {
        key: [question_about(phrase) for phrase in noun_phrases(doc, config.mode)] for key, doc in docs.items()
    }
    return score_images(images, questions, _load_answerer(config), config.batch_size, config.mode)


def compare(config: AttributesConfig, inputs: Inputs, writer: ArtifactWriter) -> None:
    """Join the models' items and summarise them."""
    compare_items(
        config,
        inputs,
        writer,
        [METRIC],
        benchmark="attributes",
        protocol=f"T2I-CompBench BLIP-VQA ({config.mode} mode), noun phrases by {config.parser}",
        seen=read_seen_in_training(inputs["prompts"]),
    )


def score_images(
    images: Sequence[GeneratedImage],
    questions: Mapping[str, Sequence[str]],
    answerer: "YesNoAnswerer",
    batch_size: BatchSize,
    reading: "Reading" = "official",
) -> list[dict[str, Any]]:
    """Ask every image its prompt's questions; return one row of the items table per image.

    Args:
        questions: prompt id -> its questions.
        batch_size: questions per call of the model.
        reading: decides what an image scores whose prompt has no question.
    """
    from comat_core.metrics.attribute_binding import binding_score, round_answer

    asked = [(row, question) for row, image in enumerate(images) for question in questions[image.prompt_id]]
    answers: list[list[float]] = [[] for _ in images]
    for batch, pixels, places in in_question_batches(images, asked, batch_size, "Attribute binding"):
        probabilities = answerer.probability_of_yes(pixels, [question for _, question in batch], places)
        for (row, _), probability in zip(batch, probabilities.tolist(), strict=True):
            answers[row].append(round_answer(probability))
    return [
        {
            **identity_of(image),
            "questions": list(questions[image.prompt_id]),
            "answers": image_answers,
            METRIC: binding_score(image_answers, reading),
        }
        for image, image_answers in zip(images, answers, strict=True)
    ]


def _load_answerer(config: AttributesConfig) -> "YesNoAnswerer":
    from comat_core.scorers.visual_question_answering import CORRECTED, OFFICIAL, VisualQuestionAnswerer

    protocol = {"official": OFFICIAL, "corrected": CORRECTED}[config.mode]
    precision = in_precision(config.precision)
    return loaded_model(VisualQuestionAnswerer.load, config.vqa, config.device, protocol=protocol, **precision)


def explain_item(item: ScoredItem) -> list[str]:
    """Every question with its answer."""
    return [f"{question} {answer:.2f}" for question, answer in zip(item["questions"], item["answers"], strict=True)]


SCORES = image_scores(
    benchmark="attributes",
    version=1,
    config_type=AttributesConfig,
    schema=ITEM_SCHEMA,
    score=score_prompted_images,
)
STAGE = comparison(
    benchmark="attributes",
    version=6,
    config_type=AttributesConfig,
    compare=compare,
)
BENCHMARK = Benchmark(
    name="attributes",
    place=10,
    metrics=(
        Metric(
            name=METRIC,
            label="Attribute binding",
            meaning="BLIP finds every noun phrase of the prompt (product of its answers)",
            headline=20,
            title="Attribute binding, by VQA",
            ranking=10,
            in_prompt_table=True,
            is_drawn=True,
            is_divided=True,
        ),
    ),
    scores=SCORES,
    explain_item=explain_item,
)
