"""Summaries of evaluations whose items are questions: images first, then every category's questions pooled."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from stages.evaluate.declared.benchmark import ScoredItem
from stages.evaluate.scoring.comparisons import JOINED, join_items, write_summary
from stages.evaluate.scoring.questions.free_answers import QuestionsConfig
from stages.evaluate.scoring.settings import chosen_prompts, skills_of
from stages.evaluate.scoring.summaries import summarise_items
from stages.plan.stage import Inputs
from stages.store.artifact_writer import ArtifactWriter

QUESTION_COLUMNS = [
    ("prompt_id", pa.string()),
    ("sample", pa.int64()),
    ("question", pa.string()),
    ("category", pa.string()),
    ("answer", pa.string()),
    ("score", pa.float64()),
    ("category_score", pa.float64()),
]
"""`score` counts for the image's mean; `category_score` for the category's, unless it is null."""


def compare_questions(
    config: QuestionsConfig,
    inputs: Inputs,
    writer: ArtifactWriter,
    benchmark: str,
    title: str,
    counted: Callable[[pa.Table], pa.Table] | None = None,
) -> None:
    """Join the models' items and summarise them.

    Args:
        counted: makes of them those that count, where not all do.
    """
    protocol = f"{title}, answers by {config.vqa.path} in place of mPLUG-large, shares of 1"
    prompts = chosen_prompts(config, inputs)
    protocol += config.match(prompts).in_protocol
    items = join_items(inputs, benchmark)
    writer.write_table(JOINED, items)
    items = items if counted is None else counted(items)
    summary = summarise_questions(items, benchmark, protocol=protocol, skills=skills_of(prompts), config=config)
    write_summary(writer, summary, inputs)


def summarise_questions(
    items: pa.Table, metric: str, *, protocol: str, skills: Mapping[str, str], config: QuestionsConfig
) -> dict[str, Any]:
    """Average over images of the mean over their questions, then as "metric/category" over a category's questions.

    A category's intervals, too, are resampled by prompt.
    """
    images = items.group_by(["model", "prompt_id", "sample"]).aggregate([("score", "mean")])
    images = images.rename_columns([metric if name == "score_mean" else name for name in images.column_names])
    settings: dict[str, Any] = {"benchmark": metric, "protocol": protocol}
    settings |= {"seed": config.seed, "resamples": config.resamples}
    one_kind = dict.fromkeys(skills, metric)
    summary = summarise_items(images, [metric], skills=one_kind, **settings)
    pooled = items.filter(pc.field("category_score").is_valid())
    for category in sorted(set(pooled["category"].to_pylist())):
        name = f"{metric}/{category}"
        columns = ["model", "prompt_id", "sample", "category_score"]
        of_category = pooled.filter(pc.field("category") == category).select(columns)
        renamed = of_category.rename_columns([*columns[:3], name])
        part = summarise_items(renamed, [name], skills=one_kind, **settings)
        _merge(summary, part)
    return summary


def question_rows(
    identity: Mapping[str, Any],
    questions: Sequence[str],
    categories: Sequence[str],
    answers: Sequence[str],
    scores: Sequence[float],
    category_scores: Sequence[float | None],
) -> list[dict[str, Any]]:
    """Rows of the items table of one image."""
    names = ("question", "category", "answer", "score", "category_score")
    rows = zip(questions, categories, answers, scores, category_scores, strict=True)
    return [{**identity, **dict(zip(names, row, strict=True))} for row in rows]


def read_question(metric: str, item: ScoredItem) -> dict[str, float]:
    """The score of one question, of which an image's is the mean."""
    return {metric: item["score"]}


def explain_question(item: ScoredItem) -> list[str]:
    """The question with its answer."""
    return [f"{item['question']} {item['answer']}"]


def _merge(summary: dict[str, Any], part: Mapping[str, Any]) -> None:
    for model, scores in part["models"].items():
        summary["models"][model] |= scores
    summary["delta"] |= part["delta"]
