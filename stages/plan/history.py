"""What the evaluations of a preset gave, training after training: small records that outlive their artifacts.

An artifact's key depends on nothing but its config and inputs, so no stage can know what other trainings gave. The flow
notes it down instead, after each run: one file per evaluation at <store>/.history/<preset>/, written whole, so that
runs at the same time need not wait for each other.
"""

from collections.abc import Mapping
from typing import Annotated, Any
from urllib.parse import quote

from pydantic import BaseModel, Field, field_validator

from comat_core.files.regular_files import reading_errors_told
from data.formats.records import parse_record
from stages.plan.digests import digest_json
from stages.plan.pipeline import Plan, PlannedNode
from stages.store.artifacts import Artifact
from stages.store.file_names import fitting_name
from stages.store.filesystem import Folder
from stages.store.store import Store

HISTORY = ".history"
SUMMARY = "summary.json"
LARGEST_RECORD = 2**24  # bytes


Score = Annotated[float, Field(ge=-1e12, le=1e12)]


class _Estimate(BaseModel):
    mean: Score
    low: Score
    high: Score


class _CountedEstimate(_Estimate):
    n: int


class _Summary(BaseModel):
    """The part of a summary that a time line is drawn of."""

    models: dict[str, dict[str, _CountedEstimate]]
    delta: dict[str, _Estimate]


class Result(BaseModel):
    """What one evaluation said of one training."""

    preset: str
    evaluation: str  # name of the node
    key: str  # of the evaluation's artifact
    lora: str  # key of the training's artifact
    trained_at: Annotated[str, Field(pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d")]  # ISO 8601, UTC
    setting: str  # equal for results that were measured alike: same settings, prompts and scores of the base model
    summary: dict[str, Any]

    @field_validator("summary")
    @classmethod
    def _has_scores(cls, summary: dict[str, Any]) -> dict[str, Any]:
        checked = _Summary.model_validate(summary)
        scored = {name for scores in checked.models.values() for name in scores}
        for name in scored & checked.delta.keys():
            if not all(name in checked.models.get(model, {}) for model in ("base", "tuned")):
                raise ValueError(f"the change of {name!r} has no score that it changes from")
        return summary


def record_results(store: Store, preset: str, plan: Plan, artifacts: Mapping[str, Artifact]) -> int:
    """Note down what a run's evaluations gave, and return how many there were.

    Args:
        artifacts: node name -> finished artifact. Evaluations of no training are left out.
    """
    count = 0
    for node in plan.nodes:
        if node.name.startswith("evaluate.") and node.name in artifacts:
            result = _result_of(preset, node, artifacts[node.name], artifacts)
            if result is not None:
                name = f"{node.name}-{result.key}.json"
                history_folder(store, preset).write(name, result.model_dump_json().encode())
                count += 1
    return count


def read_history(store: Store, preset: str) -> list[Result]:
    """Every result of a preset, the earliest training first.

    Raises:
        UserError: a record is damaged.
    """
    folder = history_folder(store, preset)
    results = [_read_result(folder, name) for name in folder.sizes() if _is_record(name)]
    return sorted(results, key=lambda result: (result.trained_at, result.lora, result.evaluation, result.key))


def _read_result(folder: Folder, name: str) -> Result:
    advice = "remove it; a run of the preset notes its results down again while their artifacts are there"
    where = f"{folder.url}/{name}"
    with reading_errors_told("record of an evaluation", where, advice):
        content = folder.read(name, limit=LARGEST_RECORD)
    return parse_record(Result, content, "record of an evaluation", where, advice=advice)


def _result_of(
    preset: str, node: PlannedNode, evaluation: Artifact, artifacts: Mapping[str, Artifact]
) -> Result | None:
    summary = evaluation.read_json(SUMMARY)
    lora = summary.get("artifacts", {}).get("lora")
    train = artifacts.get("train")
    if train is None or lora != train.key:
        return None
    inputs = evaluation.manifest.inputs
    measured_on = {role: inputs[role].key for role in ("prompts", "base") if role in inputs}
    measured_on |= {"base images": summary["artifacts"].get("base")}
    payload = node.stage.payload_of(node.config)
    return Result(
        preset=preset,
        evaluation=node.name,
        key=evaluation.key,
        lora=lora,
        trained_at=train.manifest.finished_at,
        setting=digest_json([node.name, evaluation.manifest.version, payload, measured_on])[:12],
        summary=summary,
    )


def history_folder(store: Store, preset: str) -> Folder:
    """Where the records of a preset lie; any name makes one folder, whose name every file system takes."""
    return store.root / f"{HISTORY}/{fitting_name(quote(preset, safe=' ').replace('.', '%2E'))}"


def _is_record(name: str) -> bool:
    return name.endswith(".json") and not name.startswith(".")
