"""The table of all held-out prompts, which the page's script filters and sorts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from stages.evaluate.declared.registry import metrics
from stages.evaluate.scoring.images.generated_images import Prompt
from stages.evaluate.scoring.summaries import has_pair
from stages.report.pictures.drawn_images import ImageFiles
from stages.report.tables.prompt_scores import SHOWN_DIGITS, PromptScores, measured_metrics, verdict_of
from stages.report.tables.scores import describe

NO_SCORES = PromptScores()


@dataclass(frozen=True)
class Cell:
    """A prompt's scores under one metric."""

    means: list[float | None]  # by model, in the table's order
    change: float | None  # from base to tuned; None where base alone was measured
    verdict: str


def table_metrics(scores: Mapping[str, PromptScores]) -> list[str]:
    """The metrics that have columns, in their order."""
    measured = measured_metrics(scores.values())
    return [name for name, metric in metrics().items() if metric.in_prompt_table and name in measured]


def compose_table(
    prompts: Mapping[str, Prompt], scores: Mapping[str, PromptScores], models: Sequence[str], images: ImageFiles
) -> dict[str, Any]:
    """The table's content, by the template's names."""
    shown = table_metrics(scores)
    rows = []
    for prompt_id, prompt in prompts.items():
        own = scores.get(prompt_id, NO_SCORES)
        thumbnails = {
            model: images.thumbnails[model, prompt_id]
            for model in images.models
            if (model, prompt_id) in images.thumbnails
        }
        cells = [_cell(own, metric, models) for metric in shown]
        rows.append({"text": prompt.text, "skill": prompt.skill, "thumbnails": thumbnails, "cells": cells})
    columns = [describe(metric).label for metric in shown]
    return {
        "prompt_columns": columns,
        "prompt_rows": rows,
        "skills": sorted({prompt.skill for prompt in prompts.values()}),
    }


def _cell(scores: PromptScores, metric: str, models: Sequence[str]) -> Cell | None:
    change, means = scores.change(metric), [scores.mean(metric, model) for model in models]
    if change is None:
        return None if has_pair(models) or means == [None] else Cell(means, None, "unclear")
    return Cell(means, round(change, SHOWN_DIGITS), verdict_of(change))
