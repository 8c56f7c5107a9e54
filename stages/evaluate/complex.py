"""T2I-CompBench's 3-in-1 score of complex prompts: the mean of the scores that a prompt's kind calls for.

It looks at no image and has no scores of its own: it joins the comparisons of attribute binding, spatial relations and
CLIPScore.

Writes `items.parquet` (model, prompt_id, sample, the joined scores and their mean) and `summary.json`.
"""

from collections.abc import Mapping
from statistics import fmean
from typing import Annotated, Any, Literal

import pyarrow as pa
from pydantic import Field

from comat_core.support.errors import UserError
from stages.evaluate.declared.benchmark import Benchmark, Metric
from stages.evaluate.scoring.comparisons import JOINED, SUMMARY
from stages.evaluate.scoring.images.generated_images import read_prompts
from stages.evaluate.scoring.summaries import summarise_items
from stages.plan.config import StageConfig
from stages.plan.splits import TEST
from stages.plan.stage import Inputs, Stage
from stages.store.artifact_writer import ArtifactWriter

METRIC = "complex"
Image = tuple[str, str, int]
"""(model, prompt id, sample)"""
Score = Literal["attribute_binding", "spatial", "clip_score"]
ROLES: dict[Score, str] = {"attribute_binding": "attributes", "spatial": "spatial", "clip_score": "clip_score"}
"""Column -> role of the artifact that holds it."""

ITEM_SCHEMA = pa.schema(
    [
        ("model", pa.string()),
        ("prompt_id", pa.string()),
        ("sample", pa.int64()),
        *((column, pa.float64()) for column in (*ROLES, METRIC)),
    ]
)


class ComplexConfig(StageConfig):
    """Settings of the 3-in-1 score."""

    parts: dict[str, Annotated[tuple[Score, ...], Field(min_length=1)]] = Field(
        default={
            "complex_spatial": ("attribute_binding", "spatial"),
            "complex_action": ("attribute_binding", "clip_score"),
            "complex_spatial_action": ("attribute_binding", "spatial", "clip_score"),
        },
        min_length=1,
        description="skill of the prompts -> the scores whose mean is theirs",
    )
    seed: int = Field(ge=0, lt=2**63, description="of the bootstrap")
    resamples: int = Field(default=2000, ge=100, le=100_000, description="bootstrap resamples")


def build(config: ComplexConfig, inputs: Inputs, writer: ArtifactWriter) -> None:
    """Join, average and summarise.

    Raises:
        UserError: no prompt is of the skills, or a score that they call for was not measured.
    """
    skills = {
        key: prompt.skill
        for key, prompt in read_prompts(inputs["prompts"], TEST).items()
        if prompt.skill in config.parts
    }
    if not skills:
        wanted = ", ".join(config.parts)
        raise UserError(f"no prompt of the skills {wanted}", "evaluate.complex.parts", "name skills of the prompts")
    needed: list[Score] = [score for score in ROLES if any(score in parts for parts in config.parts.values())]
    scores = {score: _read_scores(score, inputs) for score in needed}
    images = sorted({key for score in needed for key in scores[score] if key[1] in skills})
    items: list[dict[str, Any]] = []
    for image in images:
        parts = {score: _score_of(image, score, scores[score]) for score in config.parts[skills[image[1]]]}
        given = [value for value in parts.values() if value is not None]
        identity = dict(zip(("model", "prompt_id", "sample"), image, strict=True))
        items.append({**identity, **parts, METRIC: fmean(given) if given else None})
    table = pa.Table.from_pylist(items, schema=ITEM_SCHEMA)
    writer.write_table(JOINED, table)
    summary = summarise_items(
        table,
        [METRIC],
        benchmark=METRIC,
        protocol="T2I-CompBench 3-in-1: " + "; ".join(f"{k}: {' + '.join(v)}" for k, v in config.parts.items()),
        skills=skills,
        seed=config.seed,
        resamples=config.resamples,
    )
    artifacts = inputs[ROLES["attribute_binding"]].read_json(SUMMARY)["artifacts"]
    writer.write_json(SUMMARY, {**summary, "artifacts": artifacts})


def _score_of(image: Image, score: Score, scores: Mapping[Image, float | None]) -> float | None:
    """One score of an image; None where the other evaluation found nothing to ask of its prompt."""
    if image not in scores:
        advice = f"let evaluate.{ROLES[score]}.skills include the prompt's skill"
        raise UserError(f"prompt {image[1]} has no {score}", "evaluate.complex.parts", advice)
    return scores[image]


def _read_scores(score: Score, inputs: Inputs) -> dict[Image, float | None]:
    if ROLES[score] not in inputs:
        advice = f"add a section evaluate.{ROLES[score]}, or leave the score out of evaluate.complex.parts"
        raise UserError(f"{score} was not measured", "evaluate.complex.parts", advice)
    table = inputs[ROLES[score]].read_table(JOINED).select(["model", "prompt_id", "sample", score])
    return {(row["model"], row["prompt_id"], row["sample"]): row[score] for row in table.to_pylist()}


STAGE = Stage(
    name="evaluate.complex",
    version=2,
    loads_models=False,
    config_type=ComplexConfig,
    inputs=("prompts", "attributes"),
    optional_inputs=("spatial", "clip_score"),
    build=build,
)
BENCHMARK = Benchmark(
    name=METRIC,
    place=60,
    metrics=(
        Metric(
            name=METRIC,
            label="Complex (3-in-1)",
            meaning="mean of attribute binding, spatial relations and CLIPScore, as prompts ask",
            headline=60,
            skills=("complex",),
            in_prompt_table=True,
            is_drawn=True,
        ),
    ),
    inputs={role: f"evaluate.{role}" for role in ROLES.values()},
)
