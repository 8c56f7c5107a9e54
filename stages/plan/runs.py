"""Records of runs in the store, and what may go: artifacts that no kept run refers to."""

import logging
import secrets
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial

from pydantic import BaseModel

from comat_core.support.errors import UserError
from stages.plan.dag import stage_names
from stages.plan.pipeline import Plan, PlannedNode
from stages.store.filesystem import Folder
from stages.store.locks import Lease, lease, live_ones
from stages.store.own_files import own_files
from stages.store.store import LEASES, Store

logger = logging.getLogger("comat")

RUNS = ".runs"
RUN_LEASE = "run-"
LARGEST_RECORD = 2**24  # bytes


class RunRecord(BaseModel):
    """What one run of a preset refers to. Written when it starts, so that nothing it needs goes meanwhile."""

    preset: str
    started_at: float  # seconds since the epoch
    artifacts: list[tuple[str, str]]  # stage, key
    used: list[tuple[str, str]] | None = None  # those of them that the run itself comes to; None for all
    is_finished: bool = False


@dataclass(frozen=True)
class Garbage:
    """An artifact that no kept run refers to."""

    stage: str
    key: str
    size: int  # bytes


@contextmanager
def recorded_run(store: Store, preset: str, plan: Plan, wanted: set[str]) -> Iterator[None]:
    """Note down what a run refers to, be it wanted this time or not, and that it has ended well if it does.

    While the block runs a lease says so, and nothing that the run refers to is removed.

    Args:
        wanted: names of the nodes that the run comes to.
    """
    keys = {node.name: (node.stage.name, key) for node in plan.nodes if (key := _key_if_known(node)) is not None}
    used = [pair for name, pair in keys.items() if name in wanted]
    record = RunRecord(preset=preset, started_at=time.time(), artifacts=list(keys.values()), used=used)
    name = f"{int(record.started_at * 1000):015d}-{secrets.token_hex(4)}.json"
    folder = store.root / RUNS
    waiting = partial(logger.info, "waiting: somebody is removing artifacts from the store")
    with lease(store.root / LEASES, _lease_of(name)):
        with no_run_begins(store, waiting):
            folder.write(name, record.model_dump_json().encode())
        yield
        folder.write(name, record.model_copy(update={"is_finished": True}).model_dump_json().encode())


def no_run_begins(store: Store, on_wait: Callable[[], None] | None = None) -> AbstractContextManager[Lease]:
    """While the block runs no run begins: what no run uses at its start can be removed."""
    return lease(store.root / LEASES, "beginning.json", on_wait)


def live_runs(store: Store) -> dict[str, RunRecord]:
    """File name -> record of the runs that are under way, on whichever machine. Leases of runs that were killed go."""
    folder, runs = store.root / LEASES, store.root / RUNS
    held = {name for name in folder.sizes() if name.startswith(RUN_LEASE) and name.endswith(".json")}
    live = live_ones(folder, held)
    for name in held - live:
        folder.remove(name)
    return {name: _read(runs, name) for name in runs.sizes() if _lease_of(name) in live}


def _lease_of(record: str) -> str:
    return f"{RUN_LEASE}{record}"


def _key_if_known(node: PlannedNode) -> str | None:
    """The node's key; None if a file that it needs is not here, and so no artifact of it either."""
    try:
        return node.key
    except UserError:
        return None


def kept_runs(store: Store, keep: int) -> dict[str, RunRecord]:
    """File name -> record of the last `keep` finished runs of each preset, as many that failed, and all that still run.

    Raises:
        UserError: a record cannot be read, so that nobody can tell what it keeps.
    """
    folder = store.root / RUNS
    kept: dict[str, RunRecord] = live_runs(store)
    seen: Counter[tuple[str, bool]] = Counter()
    for name in sorted(folder.sizes(), reverse=True):
        record = _read(folder, name)
        kind = (record.preset, record.is_finished)
        seen[kind] += 1
        if seen[kind] <= keep:
            kept[name] = record
    return kept


def _read(folder: Folder, name: str) -> RunRecord:
    try:
        return RunRecord.model_validate_json(folder.read(name, limit=LARGEST_RECORD))
    except (FileNotFoundError, ValueError, RecursionError) as error:
        advice = "remove it if no run that it might speak of matters any more"
        raise UserError("the record of a run cannot be read", f"{folder.url}/{name}", advice) from error


def find_garbage(store: Store, keep: int) -> list[Garbage]:
    """Artifacts, finished or not, that none of the last `keep` runs of any preset refers to.

    Raises:
        UserError: the folder is no store, or holds no records of runs to tell what is still needed.
    """
    kept = _checked_kept_runs(store, keep)
    wanted = {tuple(pair) for record in kept.values() for pair in record.artifacts}
    found = ((stage, key) for stage, key in store.entries(stage_names()) if (stage, key) not in wanted)
    return [Garbage(stage, key, sum(own_files(store.folder(stage, key)).values())) for stage, key in found]


def collect_garbage(store: Store, keep: int) -> list[Garbage]:
    """Remove the garbage that nobody works on, and the records of the runs that are not kept.

    Returns:
        what was removed.
    """
    with no_run_begins(store):
        garbage = find_garbage(store, keep)
        removed = [item for item in garbage if store.discard_idle(item.stage, item.key)]
        kept, folder = kept_runs(store, keep), store.root / RUNS
        for name in folder.sizes():
            if name not in kept:
                folder.remove(name)
        return removed


def _checked_kept_runs(store: Store, keep: int) -> dict[str, RunRecord]:
    if not store.is_marked():
        advice = "correct --store; a run marks the folder that it uses as its store"
        raise UserError("no run has made this folder its store", store.url, advice)
    kept = kept_runs(store, keep)
    if not kept:
        advice = "run the presets whose artifacts shall stay, which takes seconds where they are all there"
        raise UserError("the store holds no records of runs, so that nobody can tell what goes", store.url, advice)
    return kept
