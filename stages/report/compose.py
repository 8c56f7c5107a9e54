"""Gather the page's content from the run's artifacts."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from comat_core.support.errors import UserError
from stages.evaluate.declared.registry import benchmarks, in_official_mode
from stages.evaluate.scoring.images.generated_images import Prompt
from stages.plan.stage import Inputs
from stages.report.pictures.attention import compose_attention
from stages.report.pictures.charts import Series, interval_chart, series_of
from stages.report.pictures.drawn_images import read_held_out_prompts, read_images
from stages.report.pictures.figures import bar_chart, choose_axes, radar_chart
from stages.report.pictures.galleries import changes_of, choose_skill_groups, show_prompts
from stages.report.pictures.pictures import KEPT_SIDE
from stages.report.render import words
from stages.report.run_facts import read_curves, read_stages, read_versions
from stages.report.tables.first_screen import first_screen
from stages.report.tables.prompt_scores import PromptScores, ranking_metric, read_prompt_scores
from stages.report.tables.prompt_table import compose_table
from stages.report.tables.published_scores import compare_with_paper
from stages.report.tables.scores import Evaluation, ScoreRow, describe, read_evaluation, shown_models
from stages.report.tables.selection import Group, choose_groups

if TYPE_CHECKING:
    from stages.report import ReportConfig


def compose(config: "ReportConfig", inputs: Inputs) -> dict[str, Any]:
    """Everything that the template shows, by the template's names.

    Raises:
        UserError: the run has no held-out prompts, or no images of them.
    """
    prompts = read_held_out_prompts(inputs)
    if not prompts:
        raise UserError("no held-out prompts to show", "report", 'give the prompts stage prompts of the split "test"')
    evaluations = [read_evaluation(inputs[one.node]) for one in benchmarks() if one.node in inputs]
    in_other_mode = [read_evaluation(inputs[one.node]) for one in in_official_mode() if one.node in inputs]
    scores = read_prompt_scores(inputs)
    ranking = ranking_metric(scores.values())
    groups = _choose(config, prompts, scores, ranking)
    shown_ids = {prompt_id for group in groups for prompt_id in group.prompt_ids}
    skill_groups = choose_skill_groups(prompts, scores, shown_ids, config.skill_examples)
    shown_ids |= {prompt_id for group in skill_groups for prompt_id in group.prompt_ids}
    images = read_images(inputs, shown_ids, _with_thumbnails(config, prompts, scores, ranking), config.shown_samples)
    if not images.samples:
        raise UserError("no image of a held-out prompt to show", "report", 'let images.samples have the split "test"')
    models = shown_models(evaluations, images.models)
    series = series_of(models)
    names = [evaluation.name for evaluation in evaluations]  # in whose order those in another mode follow
    shown = (prompts, scores, images, config.shown_samples)
    return {
        "title": config.title,
        "names": {model: config.names.get(model, words(model)) for model in models},
        "is_trained": "train" in inputs,
        "prompt_count": len(images.samples),
        "sample_count": max(len(samples) for samples in images.samples.values()),
        "series": series,
        "marks": {one.name: one.mark for one in series},
        "benchmarks": sorted([*evaluations, *in_other_mode], key=lambda one: names.index(one.name)),
        **first_screen(evaluations, config.names),
        "row_charts": _row_charts([*evaluations, *in_other_mode], series),
        "has_skills": any(row.skill for evaluation in evaluations for row in evaluation.rows),
        **_figures(evaluations, series),
        "paper": compare_with_paper(evaluations, inputs["prompts"]),
        "groups": [
            {"title": group.title, "rule": group.rule, "examples": show_prompts(group.prompt_ids, ranking, *shown)}
            for group in groups
        ],
        "skill_groups": [
            {
                "skill": group.skill,
                "rule": group.rule,
                "metric": describe(group.metric).label,
                "gains": show_prompts(group.gains, group.metric, *shown),
                "losses": show_prompts(group.losses, group.metric, *shown),
            }
            for group in skill_groups
        ],
        "ranking_label": describe(ranking).label if ranking else None,
        "pixelated": config.resolution <= KEPT_SIDE,
        "curves": read_curves(inputs["train"]) if "train" in inputs else [],
        **compose_table(prompts, scores, models, images),
        "stages": read_stages(inputs),
        "versions": read_versions(inputs),
        **compose_attention(inputs),
    }


def _choose(
    config: "ReportConfig", prompts: Mapping[str, Prompt], scores: Mapping[str, PromptScores], ranking: str | None
) -> list[Group]:
    gains = changes_of(list(prompts), scores, ranking)
    label = describe(ranking).in_sentence if ranking else ""
    return choose_groups(list(prompts), gains, label, config.examples, config.seed)


def _with_thumbnails(
    config: "ReportConfig", prompts: Mapping[str, Prompt], scores: Mapping[str, PromptScores], ranking: str | None
) -> set[str]:
    """The prompts whose rows have pictures: those that changed most, as many as the page can bear."""
    changes = changes_of(list(prompts), scores, ranking)
    return set(sorted(prompts, key=lambda key: -abs(changes.get(key, 0.0)))[: config.thumbnails])


def _row_charts(evaluations: Sequence[Evaluation], series: Sequence[Series]) -> dict[str, Any]:
    """One chart per score row; scores that are shares go from 0 to 1, others from 0 to the benchmark's highest.

    Distances have a scale each: by one network's features they are not comparable with those by another's.
    """
    charts = {}
    for evaluation in evaluations:
        shared = [row for row in evaluation.rows if not _has_own_scale(row)]
        for row in evaluation.rows:
            alike = [row] if _has_own_scale(row) else shared
            top = max(interval.high for one in alike for interval in one.scores.values())
            highest = 1.0 if top <= 0.0 or (top <= 1.0 and row.ratio is None) else top * 1.05
            scores = [(one, row.scores[one.name]) for one in series if one.name in row.scores]
            charts[evaluation.name, evaluation.mode, row.name] = interval_chart(scores, highest)
    return charts


def _has_own_scale(row: ScoreRow) -> bool:
    return row.metric.of_features or row.ratio is not None


def _figures(evaluations: Sequence[Evaluation], series: Sequence[Series]) -> dict[str, Any]:
    axes = choose_axes(evaluations, series)
    drawn = [one for one in series if any(one in dict(axis.scores) for axis in axes)]
    return {"bars": bar_chart(axes) if axes else None, "radar": radar_chart(axes, series), "drawn_series": drawn}
