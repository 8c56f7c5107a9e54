"""The frame of all comparisons: the scores of every model's images side by side, and the summary of an evaluation.

A comparison loads no model and looks at no image. It writes `items.parquet`, the rows of all models with the name of
the model in front, where those are scores and no features; and `summary.json`.
"""

from collections.abc import Callable, Container, Mapping, Sequence
from typing import Any

import pyarrow as pa

from comat_core.support.errors import UserError
from stages.evaluate.scoring.image_scores import ITEMS, ORIGIN
from stages.evaluate.scoring.images.generated_images import REAL, artifacts_by_model, read_seen_in_training
from stages.evaluate.scoring.settings import EvaluationConfig, chosen_prompts, skills_of
from stages.evaluate.scoring.summaries import summarise_items
from stages.plan.stage import Inputs, Stage
from stages.store.artifact_writer import ArtifactWriter

SUMMARY = "summary.json"
JOINED = "items.parquet"


def comparison(
    *,
    benchmark: str,
    version: int,
    config_type: type[EvaluationConfig],
    compare: Callable[[Any, Inputs, ArtifactWriter], None],
    more_inputs: tuple[str, ...] = (),
    optional_inputs: tuple[str, ...] = (),
    fetch: Callable[[Any], None] | None = None,
) -> Stage:
    """Make the stage that compares the scores of all models.

    Args:
        compare: writes the artifact.
        more_inputs: roles of what it reads besides prompts and scores.
        optional_inputs: roles of what it reads where the run has it.
        fetch: see `AnyStage`.
    """
    return Stage(
        name=f"evaluate.{benchmark}",
        version=version,
        config_type=config_type,
        inputs=("prompts", "base", *more_inputs),
        optional_inputs=("tuned", "other", *optional_inputs),
        fetch=fetch,
        loads_models=False,
        build=compare,
    )


def join_items(inputs: Inputs, benchmark: str, real: pa.Table | None = None) -> pa.Table:
    """The rows of all models, base first, each with its model's name.

    Args:
        real: rows about real images, which come last as those of a model of that name.

    Raises:
        UserError: there is none.
    """
    tables = items_by_model(inputs)
    if real is not None:
        tables[REAL] = real
    if not any(table.num_rows for table in tables.values()):
        raise UserError(
            "no image of the chosen prompts to score",
            f"evaluate.{benchmark}",
            "let the prompts stage have prompts of that split and skill",
        )
    return pa.concat_tables(
        table.add_column(0, "model", pa.array([model] * table.num_rows, pa.string())) for model, table in tables.items()
    )


def items_by_model(inputs: Inputs) -> dict[str, pa.Table]:
    """Model -> the rows about its images, base first. What is compared is paired: these are the same for all models."""
    tables = {model: scores.read_table(ITEMS) for model, scores in artifacts_by_model(inputs).items()}
    images = [_images_of(table) for table in tables.values()]
    assert all(of_model.equals(images[0]) for of_model in images), "all models' items are about the same images"
    return tables


def compare_items(
    config: EvaluationConfig,
    inputs: Inputs,
    writer: ArtifactWriter,
    metrics: Sequence[str],
    *,
    benchmark: str,
    protocol: str,
    seen: Container[str] = (),
) -> None:
    """Join the models' items, average each metric, and write both.

    Args:
        seen: ids of prompts that the training sources hold; see `summarise_items`. Looked for where the settings ask
            for scores without them.
    """
    items = join_items(inputs, benchmark)
    writer.write_table(JOINED, items)
    summary = summarise_items(
        items,
        metrics,
        benchmark=benchmark,
        protocol=protocol,
        skills=skills_of(chosen_prompts(config, inputs)),
        seed=config.seed,
        resamples=config.resamples,
        seen=read_seen_in_training(inputs["prompts"]) if config.leakage_free else seen,
    )
    write_summary(writer, summary, inputs)


def write_summary(writer: ArtifactWriter, summary: Mapping[str, Any], inputs: Inputs) -> None:
    """Write the summary, with the keys of what was scored: the images of each model, and the LoRA that was tuned.

    By the LoRA's key the results of several trainings make a time line.
    """
    origins = {model: scores.read_json(ORIGIN) for model, scores in artifacts_by_model(inputs).items()}
    scored = {model: origin["images"] for model, origin in origins.items()}
    lora = origins.get("tuned", {}).get("lora")
    if lora is not None:
        scored["lora"] = lora
    writer.write_json(SUMMARY, {**summary, "artifacts": scored})


def _images_of(items: pa.Table) -> pa.Table:
    """Which images the rows are about, in an order that is the same for all models."""
    return items.select(["prompt_id", "sample"]).sort_by([("prompt_id", "ascending"), ("sample", "ascending")])
