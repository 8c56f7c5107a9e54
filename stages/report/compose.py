"""Gather the page's content from the run's artifacts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from comat_core.errors import UserError
from stages.evaluate.generated_images import MODELS, Prompt, image_parts, read_part, read_prompts
from stages.report.charts import interval_chart
from stages.report.evaluations import EVALUATIONS
from stages.report.pictures import KEPT_SIDE, shown_picture, thumbnail
from stages.report.run_facts import read_curves, read_stages, read_versions
from stages.report.scores import (
    HEADLINES,
    METRICS,
    Benchmark,
    PromptScores,
    ScoreRow,
    ranking_metric,
    read_benchmark,
    read_prompt_scores,
)
from stages.report.selection import Group, choose_groups
from stages.stage import Inputs

if TYPE_CHECKING:
    from stages.report import ReportConfig

TABLE_METRICS = ("attribute_binding", "spatial", "all_right")
SHOWN_DIGITS = 2
NO_SCORES = PromptScores({}, {}, {})


@dataclass(frozen=True)
class Picture:
    """One shown image with its score under the metric that ranks the examples."""

    uri: str
    score: float | None
    answers: str


@dataclass(frozen=True)
class ImageFiles:
    """What the page keeps of the generated images."""

    shown: dict[tuple[str, str, int], str]  # (model, prompt id, sample) -> data URI
    thumbnails: dict[tuple[str, str], str]  # (model, prompt id) -> data URI
    samples: dict[str, list[int]]  # prompt id -> its samples


def compose(config: "ReportConfig", inputs: Inputs) -> dict[str, Any]:
    """Everything that the template shows, by the template's names.

    Raises:
        UserError: the run has no held-out prompts, or no images of them.
    """
    from stages.report.attention import compose_attention

    prompts = read_prompts(inputs["prompts"], "test")
    if not prompts:
        raise UserError("no held-out prompts to show", "report", 'give the prompts stage prompts of the split "test"')
    benchmarks = [read_benchmark(inputs[role]) for role in EVALUATIONS if role in inputs]
    scores = read_prompt_scores(inputs)
    ranking = ranking_metric(scores)
    groups = _choose(config, prompts, scores, ranking)
    shown_ids = {prompt_id for group in groups for prompt_id in group.prompt_ids}
    images = _read_images(inputs, shown_ids, config.shown_samples)
    if not images.samples:
        raise UserError("no image of a held-out prompt to show", "report", 'let images.samples have the split "test"')
    return {
        "title": config.title,
        "prompt_count": len(images.samples),
        "sample_count": max(len(samples) for samples in images.samples.values()),
        "benchmarks": benchmarks,
        "headlines": _headlines(benchmarks),
        "row_charts": _row_charts(benchmarks),
        "has_skills": any(row.skill for benchmark in benchmarks for row in benchmark.rows),
        "groups": [_show_group(group, prompts, scores, ranking, images, config.shown_samples) for group in groups],
        "ranking_label": METRICS[ranking].label if ranking else None,
        "pixelated": config.resolution <= KEPT_SIDE,
        "curves": read_curves(inputs["train"]),
        "skills": sorted({prompt.skill for prompt in prompts.values()}),
        "prompt_columns": [METRICS[metric].label for metric in _table_metrics(scores)],
        "prompt_rows": _prompt_rows(prompts, scores, images),
        "stages": read_stages(inputs),
        "versions": read_versions(inputs),
        **compose_attention(config, inputs, prompts, groups),
    }


def _choose(
    config: "ReportConfig", prompts: Mapping[str, Prompt], scores: Mapping[str, PromptScores], ranking: str | None
) -> list[Group]:
    changes = {key: scores[key].change(ranking) for key in prompts if key in scores} if ranking else {}
    gains = {key: change for key, change in changes.items() if change is not None}
    label = METRICS[ranking].label.lower() if ranking else ""
    return choose_groups(list(prompts), gains, label, config.examples, config.seed)


def _read_images(inputs: Inputs, shown_ids: set[str], shown_samples: int) -> ImageFiles:
    """Go through all parts once, so that no more than one part's images are in memory."""
    files = ImageFiles({}, {}, {})
    for part in image_parts(inputs):
        for image in read_part(inputs, part, "test"):
            samples = files.samples.setdefault(image.prompt_id, [])
            if image.sample not in samples:
                samples.append(image.sample)
            if samples[0] == image.sample:
                files.thumbnails[image.model, image.prompt_id] = thumbnail(image.png)
            if image.prompt_id in shown_ids and samples.index(image.sample) < shown_samples:
                files.shown[image.model, image.prompt_id, image.sample] = shown_picture(image.png)
    return files


def _headlines(benchmarks: Sequence[Benchmark]) -> list[ScoreRow]:
    rows = {row.name: row for benchmark in benchmarks for row in benchmark.rows}
    return [rows[name] for name in HEADLINES if name in rows]


def _row_charts(benchmarks: Sequence[Benchmark]) -> dict[str, Any]:
    """One chart per score row; scores that are shares go from 0 to 1, others from 0 to the benchmark's highest."""
    charts = {}
    for benchmark in benchmarks:
        top = max((edge for row in benchmark.rows for edge in (row.base.high, row.tuned.high)), default=1.0)
        highest = 1.0 if top <= 1.0 else top * 1.05
        charts |= {row.name: interval_chart(row.base, row.tuned, highest) for row in benchmark.rows}
    return charts


def _show_group(
    group: Group,
    prompts: Mapping[str, Prompt],
    scores: Mapping[str, PromptScores],
    ranking: str | None,
    images: ImageFiles,
    shown_samples: int,
) -> dict[str, Any]:
    examples = []
    for prompt_id in group.prompt_ids:
        own = scores.get(prompt_id, NO_SCORES)
        columns = [
            {"sample": sample, **{model: _picture(prompt_id, model, sample, own, ranking, images) for model in MODELS}}
            for sample in images.samples.get(prompt_id, [])[:shown_samples]
        ]
        change = own.change(ranking) if ranking else None
        verdict = _verdict(change or 0.0)
        examples.append({"text": prompts[prompt_id].text, "columns": columns, "change": change, "verdict": verdict})
    return {"title": group.title, "rule": group.rule, "examples": examples}


def _picture(
    prompt_id: str, model: str, sample: int, scores: PromptScores, ranking: str | None, images: ImageFiles
) -> Picture:
    answers = "; ".join(f"{question} {answer:.2f}" for question, answer in scores.answers.get((model, sample), []))
    seen = scores.seen.get((model, sample))
    judged = "" if seen is None else f"the judge sees: {', '.join(seen) or 'nothing'}"
    score = scores.samples.get(ranking, {}).get(model, {}).get(sample) if ranking else None
    told = ". ".join(text for text in (answers, judged) if text)
    return Picture(images.shown[model, prompt_id, sample], score, told)


def _table_metrics(scores: Mapping[str, PromptScores]) -> list[str]:
    measured = {metric for prompt in scores.values() for metric in prompt.samples}
    return [metric for metric in TABLE_METRICS if metric in measured]


def _prompt_rows(
    prompts: Mapping[str, Prompt], scores: Mapping[str, PromptScores], images: ImageFiles
) -> list[dict[str, Any]]:
    rows = []
    for prompt_id, prompt in prompts.items():
        own = scores.get(prompt_id, NO_SCORES)
        thumbnails = {model: images.thumbnails.get((model, prompt_id)) for model in MODELS}
        cells = [_cell(own, metric) for metric in _table_metrics(scores)]
        shown = thumbnails if all(thumbnails.values()) else None
        rows.append({"text": prompt.text, "skill": prompt.skill, "thumbnails": shown, "cells": cells})
    return rows


def _cell(scores: PromptScores, metric: str) -> dict[str, Any] | None:
    base, tuned = scores.mean(metric, "base"), scores.mean(metric, "tuned")
    if base is None or tuned is None:
        return None
    change = tuned - base
    return {"base": base, "tuned": tuned, "change": round(change, SHOWN_DIGITS), "verdict": _verdict(change)}


def _verdict(change: float) -> str:
    """Of one prompt: a change too small to be shown is neither better nor worse."""
    shown = round(change, SHOWN_DIGITS)
    return "better" if shown > 0 else "worse" if shown < 0 else "unclear"
