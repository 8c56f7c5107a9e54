"""Computing finished work again: what was there is removed once, and a run that is repeated goes on where it was."""

import logging
import time
from collections.abc import Sequence

from stages.plan.digests import digest_json
from stages.plan.pipeline import Plan, PlannedNode
from stages.plan.runs import live_runs, no_run_begins
from stages.store.locks import POLL_SECONDS
from stages.store.store import Store

logger = logging.getLogger("comat")

REFRESHES = ".refreshes"


def begin_refresh(plan: Plan, names: set[str], store: Store) -> str | None:
    """Remove the artifacts of some nodes, the last ones first, so that none outlives what it was made from.

    A note says that this has been done. While it stands and something of what was removed is still to be built again,
    the same refresh goes on instead of beginning anew. What another run uses or works on is not touched: that run's
    end is waited for. Call it before the run is recorded, or two such runs would wait for each other.

    Returns:
        the note's name for `end_refresh`; None if there is nothing to refresh.
    """
    nodes = [node for node in reversed(plan.nodes) if node.name in names]
    if not nodes:
        return None
    note = f"{digest_json([(node.stage.name, node.key) for node in nodes])[:24]}.json"
    is_told = False
    while not _is_begun(nodes, note, store):
        with no_run_begins(store):
            reason = _reason_to_wait(nodes, store)
            if reason is None and _removed(nodes, store):
                (store.root / REFRESHES).write(note, b"{}")
                return note
        if not is_told:
            logger.info("refresh: %s; waiting for its end", reason or "another run works on what it would remove")
            is_told = True
        time.sleep(POLL_SECONDS)
    logger.info("refresh: going on with one that was begun")
    return note


def end_refresh(store: Store, note: str | None) -> None:
    """Note down that everything was built again: the same refresh then begins anew."""
    if note is not None:
        (store.root / REFRESHES).remove(note)


def _is_begun(nodes: Sequence[PlannedNode], note: str, store: Store) -> bool:
    """Whether the same refresh has been begun, by an earlier run or one at the same time, and is not at its end."""
    return (store.root / REFRESHES).has(note) and not all(
        store.look_up(node.stage.name, node.key).artifact is not None for node in nodes
    )


def _reason_to_wait(nodes: Sequence[PlannedNode], store: Store) -> str | None:
    of_node = {(node.stage.name, node.key): node.name for node in nodes}
    for record in live_runs(store).values():
        for pair in record.artifacts if record.used is None else record.used:
            if pair in of_node:
                since = time.strftime("%H:%M", time.localtime(record.started_at))
                return f"a run of {record.preset} that began at {since} uses {of_node[pair]}"
    return None


def _removed(nodes: Sequence[PlannedNode], store: Store) -> bool:
    """Remove what nobody works on; False if somebody does, outside of any run that is recorded."""
    return all(store.discard_idle(node.stage.name, node.key) for node in nodes)
