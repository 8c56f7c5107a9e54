"""GenEval: are the objects there, as many, in the colours and places that the prompt says? See `metrics.geneval`.

The authors' metadata tell what to check of each prompt. Objects are found by a detector, colours told by CLIP.

Scores are rows of (prompt_id, sample, tag, correct, reasons, detections). A model's score "geneval" is the mean of the
tasks' shares of right images, "geneval/<task>".
"""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field

from comat_core.metrics.geneval import Checks, Detection, judge_image, read_checks, select_detections
from comat_core.support.errors import UserError
from stages.batches import BatchSize
from stages.evaluate.declared.benchmark import Benchmark, Metric, ScoredItem
from stages.evaluate.scoring.comparisons import JOINED, comparison, join_items, write_summary
from stages.evaluate.scoring.image_scores import identity_of, image_scores, in_batches, item_schema
from stages.evaluate.scoring.images.generated_images import MODELS, GeneratedImage, Prompt
from stages.evaluate.scoring.models_in_memory import loaded_model
from stages.evaluate.scoring.objects.class_detectors import ClassDetectorSettings
from stages.evaluate.scoring.questions.question_files import ADVICE, QuestionFile, published_as
from stages.evaluate.scoring.questions.question_items import Item, QuestionedConfig
from stages.evaluate.scoring.settings import chosen_prompts
from stages.evaluate.scoring.summaries import has_pair, models_of, summarise_items
from stages.models.devices import choose_device
from stages.plan.config import ModelReference
from stages.plan.stage import Inputs
from stages.store.artifact_writer import ArtifactWriter

if TYPE_CHECKING:
    import numpy as np

    from comat_core.metrics import spatial

METRIC = "geneval"
OFFICIAL_DETECTOR = "MMDetection's Mask2Former (Swin-S)"

DETECTION = pa.struct(
    [("class", pa.string())] + [(name, pa.float64()) for name in ("confidence", "x_min", "y_min", "x_max", "y_max")]
)
ITEM_SCHEMA = item_schema(
    ("tag", pa.string()),
    ("correct", pa.bool_()),
    ("reasons", pa.list_(pa.string())),
    ("detections", pa.list_(DETECTION)),
)


class GenEvalConfig(QuestionedConfig):
    """Settings of GenEval."""

    split: ClassVar[str] = "geneval"

    metadata: Annotated[QuestionFile, published_as("geneval/prompts")] = Field(
        default=QuestionFile(source="geneval/prompts"), description="the authors' evaluation_metadata.jsonl"
    )
    detector: ClassDetectorSettings = Field(default=ClassDetectorSettings(), description="what finds the objects")
    clip: ModelReference = Field(
        default=ModelReference(
            path="openai/clip-vit-large-patch14", revision="32bd64288804d66eefd0ccbe215aa642df71cc41"
        ),
        description="the CLIP that tells colours, folder or hub id",
    )
    batch_size: BatchSize = Field(default=8, description="images at once; auto takes as many as fit")

    def scores_payload(self) -> dict[str, Any]:
        return {**super().scores_payload(), "metadata": self.metadata.content_identity()}

    def question_file(self) -> QuestionFile:
        return self.metadata

    def read_items(self) -> list[Item[Checks]]:
        items = []
        for row in self.metadata.read_json(("prompt", "tag", "include")):
            text = row.text("prompt")
            try:
                items.append(Item(row.identity("id"), text, (read_checks(row.values),)))
            except (KeyError, ValueError) as error:
                raise UserError(f"malformed metadata of the prompt {text!r}: {error}", row.where, ADVICE) from error
        return items


def compare(config: GenEvalConfig, inputs: Inputs, writer: ArtifactWriter) -> None:
    """Join the models' items and summarise them."""
    items = join_items(inputs, METRIC)
    writer.write_table(JOINED, items)
    scored = items.append_column(METRIC, pc.cast(items["correct"], pa.float64()))
    tags = dict(zip(items["prompt_id"].to_pylist(), items["tag"].to_pylist(), strict=True))
    detector = config.detector
    settings: dict[str, Any] = {"seed": config.seed, "resamples": config.resamples}
    left_out = config.match(chosen_prompts(config, inputs)).in_protocol
    summary = summarise_items(
        scored,
        [METRIC],
        benchmark=METRIC,
        protocol=f"GenEval, mean of {len(set(tags.values()))} tasks, objects by {detector.checkpoint.path}"
        f" ({detector.kind}) above {detector.threshold}, counted above {detector.counting_threshold}, not by"
        f" {OFFICIAL_DETECTOR}: not comparable with published scores; colours by {config.clip.path}{left_out}",
        skills=tags,
        **settings,
    )
    write_summary(writer, with_mean_of_tasks(summary, scored, tags, **settings), inputs)


def judge_images(
    config: GenEvalConfig, images: Sequence[GeneratedImage], prompts: Mapping[str, Prompt]
) -> list[dict[str, Any]]:
    """Judge every image that the authors' file tells of; return one row of the items table for each."""
    from comat_core.scorers.zero_shot_colours import ColourClassifier

    # Several rows with one text and without ids, for a single prompt: the first.
    checks = {key: of_prompt[0] for key, of_prompt in config.match(prompts).questions.items()}
    checked = [image for image in images if image.prompt_id in checks]
    if not checked:
        return []
    detector = config.detector.load(config.device)
    colours, device = loaded_model(ColourClassifier.load, config.clip, config.device), choose_device(config.device)
    items = []
    for batch, decoded in in_batches(checked, config.batch_size, "GenEval"):
        pixels = decoded.to(device)
        asked = [checks[image.prompt_id] for image in batch]
        found = detector.detect_objects(pixels, [one.class_names for one in asked])
        for image, picture, one, boxes in zip(batch, pixels, asked, found, strict=True):
            objects = select_detections(
                _by_class(boxes),
                one.task,
                confidence=config.detector.threshold,
                counting_confidence=config.detector.counting_threshold,
            )
            verdict = judge_image(objects, one.include, one.exclude, partial(colours.classify, picture))
            items.append(
                {
                    **identity_of(image),
                    "tag": one.task,
                    "correct": verdict.correct,
                    "reasons": list(verdict.reasons),
                    "detections": _as_structs(objects),
                }
            )
    return items


def with_mean_of_tasks(
    summary: dict[str, Any], items: pa.Table, tags: Mapping[str, str], *, seed: int, resamples: int
) -> dict[str, Any]:
    """Put the mean of the tasks' means in place of the mean over all images.

    Args:
        items: with the score of every image.
        tags: prompt id -> task.
    """
    from comat_core.metrics.bootstrap import Difference, bootstrap_mean_of_groups, make_numpy_generator

    tables = models_of(items)
    prompts = tables[MODELS[0]]["prompt_id"].to_pylist()
    tasks = [tags[prompt] for prompt in prompts]
    scores = {model: table[METRIC].to_numpy() for model, table in tables.items()}

    def mean_of_tasks(values: "np.ndarray") -> Any:
        generator = make_numpy_generator(seed, METRIC)
        return bootstrap_mean_of_groups(values, prompts, tasks, generator, resamples=resamples)

    models = {
        model: {**summary["models"][model], METRIC: mean_of_tasks(values).as_dict()} for model, values in scores.items()
    }
    delta = dict(summary["delta"])
    if has_pair(scores):
        base, tuned = (scores[model] for model in MODELS)
        change = mean_of_tasks(tuned - base)
        delta[METRIC] = Difference(change.mean, change.low, change.high).as_dict()
    return {**summary, "models": models, "delta": delta}


def _as_structs(objects: Mapping[str, Sequence[Detection]]) -> list[dict[str, Any]]:
    return [
        {"class": name} | {field: getattr(box, field) for field in DETECTION.names[1:]}
        for name, of_class in objects.items()
        for box in of_class
    ]


def _by_class(boxes: "Sequence[spatial.Detection]") -> dict[str, list[Detection]]:
    found: dict[str, list[Detection]] = {}
    for box in boxes:
        mask = getattr(box, "mask", None)  # of detectors that know the objects' pixels
        one = Detection(box.x_min, box.y_min, box.x_max, box.y_max, box.confidence, mask)
        found.setdefault(box.label, []).append(one)
    return found


def read_item(item: ScoredItem) -> dict[str, float]:
    """An image's score: right or wrong."""
    return {METRIC: float(item["correct"])}


def explain_item(item: ScoredItem) -> list[str]:
    """Why an image is wrong."""
    return item["reasons"]


SCORES = image_scores(
    benchmark="geneval",
    version=1,
    config_type=GenEvalConfig,
    schema=ITEM_SCHEMA,
    score=judge_images,
)
STAGE = comparison(
    benchmark="geneval",
    version=3,
    config_type=GenEvalConfig,
    compare=compare,
)
BENCHMARK = Benchmark(
    name=METRIC,
    place=100,
    split=GenEvalConfig.split,
    metrics=(
        Metric(
            name=METRIC,
            label="GenEval",
            meaning="share of images whose objects a detector finds as the prompt says",
            headline=120,
            ranking=70,
            in_prompt_table=True,
            is_drawn=True,
        ),
    ),
    scores=SCORES,
    read_item=read_item,
    explain_item=explain_item,
)
