"""TIFA: multiple-choice questions about each image; see `comat_core.metrics.tifa`.

Writes `items/*.parquet` (one row per image and question; `answer` is the model's own, before the choice) and
`summary.json`. The score is the mean over images of the mean over their questions; a category's pools its questions.
"""

from typing import Any, ClassVar

import pyarrow as pa
from pydantic import Field

from comat_core.metrics.tifa import choose
from stages.artifacts import ArtifactWriter
from stages.config import ModelReference
from stages.devices import choose_device
from stages.evaluate.answers import QuestionsConfig, ask_images, load_answerer
from stages.evaluate.question_files import QuestionFile, by_prompt
from stages.evaluate.question_scores import QUESTION_COLUMNS, question_rows, summarise_questions
from stages.evaluate.settings import chosen_prompts, count_parts, images_of_part, skills_of
from stages.evaluate.summaries import join_parts, part_name, write_summary
from stages.stage import Inputs, ShardedStage

METRIC = "tifa"
FIELDS = ("caption", "question", "choices", "answer", "element_type")


class TifaConfig(QuestionsConfig):
    """Settings of TIFA."""

    split: ClassVar[str] = "tifa"

    questions: QuestionFile = Field(
        default=QuestionFile(source="tifa/question_answers"), description="the authors' JSON file"
    )
    sentence_encoder: ModelReference = Field(
        default=ModelReference(path="sentence-transformers/all-mpnet-base-v2"),
        description="finds the choice nearest to an answer that is none",
    )

    def key_payload(self) -> dict[str, Any]:
        return {**super().key_payload(), "questions": self.questions.content_identity()}


def build_shard(config: TifaConfig, inputs: Inputs, writer: ArtifactWriter, index: int) -> None:
    """Ask and score the images of one part."""
    rows = config.questions.read_json(FIELDS)
    prompts = chosen_prompts(config, inputs)
    questions = by_prompt(rows, "caption", prompts, str(config.questions.local_path()))
    images = images_of_part(inputs, index, questions)
    items: list[dict[str, Any]] = []
    if images:
        from comat_core.sentence_similarity import SentenceSimilarity

        texts = {key: [row["question"] for row in of_prompt] for key, of_prompt in questions.items()}
        answers = ask_images(images, texts, load_answerer(config), config)
        encoder = config.sentence_encoder
        nearness = SentenceSimilarity.load(
            encoder.resolve(), revision=encoder.revision, device=choose_device(config.device)
        )
        for image, given in zip(images, answers, strict=True):
            of_prompt = questions[image.prompt_id]
            scores = [
                float(choose(answer, row["choices"], nearness) == row["answer"])
                for row, answer in zip(of_prompt, given, strict=True)
            ]
            identity = {"model": image.model, "prompt_id": image.prompt_id, "sample": image.sample}
            types = [row["element_type"] for row in of_prompt]
            items += question_rows(identity, texts[image.prompt_id], types, given, scores, scores)
    writer.write_table(part_name(index), pa.Table.from_pylist(items, schema=pa.schema(QUESTION_COLUMNS)))


def build_rest(config: TifaConfig, inputs: Inputs, writer: ArtifactWriter) -> None:
    """Join the shards and summarise them."""
    protocol = f"TIFA, answers by {config.vqa.path} in place of mPLUG-large, shares of 1"
    skills = skills_of(chosen_prompts(config, inputs))
    table = join_parts(writer, METRIC)
    write_summary(writer, summarise_questions(table, METRIC, protocol=protocol, skills=skills, config=config), inputs)


STAGE = ShardedStage(
    name="evaluate.tifa",
    version=1,
    config_type=TifaConfig,
    inputs=("prompts", "base", "tuned"),
    optional_inputs=("other",),
    count_shards=count_parts,
    build_shard=build_shard,
    build_rest=build_rest,
)
run = STAGE.run
