"""Records of runs in the store, and what may go: artifacts that no kept run refers to."""

import json
import secrets
import time
from dataclasses import dataclass

from pydantic import BaseModel

from comat_core.errors import UserError
from stages.pipeline import Plan, Step
from stages.store import Store

RUNS = ".runs"


class RunRecord(BaseModel):
    """What one run of a preset refers to. Written when it starts, so that nothing it needs goes meanwhile."""

    preset: str
    started_at: float  # seconds since the epoch
    artifacts: list[tuple[str, str]]  # stage, key


@dataclass(frozen=True)
class Garbage:
    """An artifact that no kept run refers to."""

    stage: str
    key: str
    size: int  # bytes


def record_run(store: Store, preset: str, plan: Plan) -> None:
    """Note down what a run refers to, be it wanted this time or not."""
    artifacts = [(step.stage.name, key) for step in plan.steps if (key := _key_if_known(step)) is not None]
    record = RunRecord(preset=preset, started_at=time.time(), artifacts=artifacts)
    name = f"{int(record.started_at * 1000):015d}-{secrets.token_hex(4)}.json"
    (store.root / RUNS).write(name, record.model_dump_json().encode())


def _key_if_known(step: Step) -> str | None:
    """The step's key; None if a file that it needs is not here, and so no artifact of it either."""
    try:
        return step.key
    except UserError:
        return None


def kept_runs(store: Store, keep: int) -> dict[str, RunRecord]:
    """File name -> record of the last `keep` runs of each preset."""
    folder = store.root / RUNS
    kept: dict[str, RunRecord] = {}
    seen: dict[str, int] = {}
    for name in sorted(folder.sizes(), reverse=True):
        record = RunRecord.model_validate(json.loads(folder.read(name)))
        seen[record.preset] = seen.get(record.preset, 0) + 1
        if seen[record.preset] <= keep:
            kept[name] = record
    return kept


def find_garbage(store: Store, keep: int) -> list[Garbage]:
    """Artifacts, finished or not, that none of the last `keep` runs of any preset refers to."""
    wanted = {tuple(pair) for record in kept_runs(store, keep).values() for pair in record.artifacts}
    garbage = []
    for stage, key in store.entries():
        if (stage, key) not in wanted:
            garbage.append(Garbage(stage, key, sum(store.folder(stage, key).sizes().values())))
    return garbage


def collect_garbage(store: Store, keep: int) -> list[Garbage]:
    """Remove the garbage, and the records of the runs that are not kept."""
    garbage = find_garbage(store, keep)
    kept = kept_runs(store, keep)
    for item in garbage:
        store.discard(item.stage, item.key)
    folder = store.root / RUNS
    for name in folder.sizes():
        if name not in kept:
            folder.remove(name)
    return garbage
