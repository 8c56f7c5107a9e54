"""Records of runs in the store, and what may go: artifacts that no kept run refers to."""

import json
import secrets
import time
from collections import Counter
from dataclasses import dataclass

from pydantic import BaseModel

from comat_core.errors import UserError
from stages.filesystem import Folder
from stages.pipeline import Plan, Step
from stages.store import Store

RUNS = ".runs"


class RunRecord(BaseModel):
    """What one run of a preset refers to. Written when it starts, so that nothing it needs goes meanwhile."""

    preset: str
    started_at: float  # seconds since the epoch
    artifacts: list[tuple[str, str]]  # stage, key
    is_finished: bool = False


@dataclass(frozen=True)
class Garbage:
    """An artifact that no kept run refers to."""

    stage: str
    key: str
    size: int  # bytes


def record_run(store: Store, preset: str, plan: Plan) -> str:
    """Note down what a run refers to, be it wanted this time or not, and return the record's name."""
    artifacts = [(step.stage.name, key) for step in plan.steps if (key := _key_if_known(step)) is not None]
    record = RunRecord(preset=preset, started_at=time.time(), artifacts=artifacts)
    name = f"{int(record.started_at * 1000):015d}-{secrets.token_hex(4)}.json"
    (store.root / RUNS).write(name, record.model_dump_json().encode())
    return name


def record_end(store: Store, name: str) -> None:
    """Note down that a run has ended well."""
    folder = store.root / RUNS
    record = _read(folder, name)
    folder.write(name, record.model_copy(update={"is_finished": True}).model_dump_json().encode())


def _key_if_known(step: Step) -> str | None:
    """The step's key; None if a file that it needs is not here, and so no artifact of it either."""
    try:
        return step.key
    except UserError:
        return None


def kept_runs(store: Store, keep: int) -> dict[str, RunRecord]:
    """File name -> record of the last `keep` finished runs of each preset, and of as many that failed or still run."""
    folder = store.root / RUNS
    kept: dict[str, RunRecord] = {}
    seen: Counter[tuple[str, bool]] = Counter()
    for name in sorted(folder.sizes(), reverse=True):
        record = _read(folder, name)
        kind = (record.preset, record.is_finished)
        seen[kind] += 1
        if seen[kind] <= keep:
            kept[name] = record
    return kept


def _read(folder: Folder, name: str) -> RunRecord:
    return RunRecord.model_validate(json.loads(folder.read(name)))


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
