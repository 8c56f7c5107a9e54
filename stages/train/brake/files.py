"""What a brake leaves in files: beside the checkpoints while it works, and in the train artifact."""

import json
from pathlib import Path
from typing import Any, Final

import pyarrow as pa

from comat_core.files.whole_files import write_whole
from comat_core.training.brake import Evaluation
from stages.store.local_disk import disk_errors_told
from stages.train.brake.record import BrakeRecord, Outcome

EVALUATIONS: Final = "evaluations.json"
EVALUATIONS_TABLE: Final = "evaluations.parquet"
OUTCOME: Final = "outcome.json"
ADVICE = "free some space; the same command goes on from the last checkpoint"


def write_record(folder: Path, record: BrakeRecord) -> None:
    """Write all evaluations so far as JSON.

    Raises:
        UserError: the disk is full, or may not be written.
    """
    with disk_errors_told("evaluations", folder, ADVICE):
        folder.mkdir(parents=True, exist_ok=True)
        # Not pydantic's own JSON, which makes null of what is no finite number.
        write_whole(folder / EVALUATIONS, json.dumps(record.model_dump(), indent=1).encode())


def read_record(folder: Path) -> BrakeRecord:
    """What `write_record` wrote."""
    return BrakeRecord.model_validate(json.loads((folder / EVALUATIONS).read_text()))


def write_outcome(folder: Path, outcome: Outcome) -> None:
    """Write how the training ended."""
    write_whole(folder / OUTCOME, outcome.model_dump_json(indent=1).encode())


def read_outcome(folder: Path) -> dict[str, Any]:
    """What `write_outcome` wrote."""
    return json.loads((folder / OUTCOME).read_text())


def evaluations_table(folder: Path) -> pa.Table:
    """A row per evaluation, the base model's as that of step 0, from what `write_record` wrote."""
    record = read_record(folder)
    assert record.base is not None
    ratio = 1.0 if record.base.distances else 0.0
    base = Evaluation(
        step=0,
        averaged=False,
        scores=record.base.scores,
        distances=record.base.distances,
        gain=0.0,
        ratio=ratio,
    )
    return pa.Table.from_pylist([_row(one) for one in (base, *record.evaluations)])


def _row(evaluation: Evaluation) -> dict[str, Any]:
    scores = {f"score/{name}": value for name, value in evaluation.scores.items()}
    distances = {f"distance/{name}": value for name, value in evaluation.distances.items()}
    values = {"step": evaluation.step, "averaged": evaluation.averaged, **scores, **distances}
    return {**values, "gain": evaluation.gain, "ratio": evaluation.ratio}
