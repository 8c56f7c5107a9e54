"""From the scores of single images to those of models, with their intervals."""

from collections.abc import Container, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from stages.evaluate.scoring.images.generated_images import MODELS

NOT_IN_TRAINING = "_not_in_training"
"""Ends the names of scores that leave out the prompts which the training sources hold."""


def summarise_items(
    items: pa.Table,
    metrics: Sequence[str],
    *,
    benchmark: str,
    protocol: str,
    skills: Mapping[str, str],
    seed: int,
    resamples: int,
    seen: Container[str] = (),
) -> dict[str, Any]:
    """Average each metric with its interval, over all prompts and, as "metric/skill", over the prompts of each skill.

    Args:
        items: one row per model, prompt and sample: model, prompt_id, sample and the metrics' columns. A metric that a
            prompt has no value of is null there for every model; one that no prompt has a value of is left out.
        skills: prompt id -> skill. The division is left out where all prompts are of one skill.
        seen: ids of prompts that the training sources hold. A skill that has some is averaged without them as well, as
            "metric/skill_not_in_training".
    """
    from comat_core.metrics.bootstrap import bootstrap_difference, bootstrap_mean, make_numpy_generator

    tables = models_of(items)
    models = list(tables)
    summary: dict[str, Any] = {
        "benchmark": benchmark,
        "protocol": protocol,
        "models": {model: {} for model in models},
        "delta": {},
    }
    for metric in metrics:
        measured = {model: table.filter(pc.field(metric).is_valid()) for model, table in tables.items()}
        prompts = measured[models[0]]["prompt_id"].to_pylist()
        if not prompts:
            continue
        for table in measured.values():
            assert table["prompt_id"].to_pylist() == prompts, "all models' items stand in the same order"
        scores = {model: np.asarray(table[metric].to_pylist(), np.float64) for model, table in measured.items()}
        for name, rows in _row_sets(metric, prompts, skills, seen).items():
            chosen = [prompts[row] for row in rows]
            for model in models:
                generator = make_numpy_generator(seed, name)
                estimate = bootstrap_mean(scores[model][rows], chosen, generator, resamples=resamples)
                summary["models"][model][name] = estimate.as_dict()
            if not has_pair(models):
                continue
            generator = make_numpy_generator(seed, name)
            base, tuned = (scores[model][rows] for model in MODELS)
            difference = bootstrap_difference(base, tuned, chosen, generator, resamples=resamples)
            summary["delta"][name] = difference.as_dict()
    return summary


def has_pair(models: Container[str]) -> bool:
    """Whether both base and tuned are among the models: an audit may measure one alone."""
    return all(model in models for model in MODELS)


def models_of(items: pa.Table) -> dict[str, pa.Table]:
    """Each model's rows, base first, in the order of prompts and samples."""
    present = set(items["model"].to_pylist())
    models = [*(model for model in MODELS if model in present), *sorted(present - set(MODELS))]
    return {model: _of_model(items, model) for model in models}


def _of_model(items: pa.Table, model: str) -> pa.Table:
    chosen = items.filter(pc.field("model") == model)
    return chosen.sort_by([("prompt_id", "ascending"), ("sample", "ascending")])


def _row_sets(
    metric: str, prompts: Sequence[str], skills: Mapping[str, str], seen: Container[str]
) -> dict[str, list[int]]:
    """Name of a score -> the rows that it averages."""
    sets = {metric: list(range(len(prompts)))}
    kinds = sorted({skills[prompt] for prompt in prompts})
    for kind in kinds:
        rows = [row for row, prompt in enumerate(prompts) if skills[prompt] == kind]
        unseen = [row for row in rows if prompts[row] not in seen]
        if len(kinds) > 1:
            sets[f"{metric}/{kind}"] = rows
        if 0 < len(unseen) < len(rows):
            sets[f"{metric}/{kind}{NOT_IN_TRAINING}"] = unseen
    return sets
