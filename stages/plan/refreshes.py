"""Computing finished work again: what was there is removed once, and a run that is repeated goes on where it was."""

import logging
from functools import partial

from stages.plan.digests import digest_json
from stages.plan.pipeline import Plan, Step
from stages.store.store import Store

logger = logging.getLogger("comat")

REFRESHES = ".refreshes"


def begin_refresh(plan: Plan, names: set[str], store: Store) -> str | None:
    """Remove the artifacts of some steps, the last ones first, so that none outlives what it was made from.

    A note says that this has been done. While it stands and something of what was removed is still to be built again,
    the same refresh goes on instead of beginning anew. An artifact that another run works on is waited for.

    Returns:
        the note's name for `end_refresh`; None if there is nothing to refresh.
    """
    steps = [step for step in reversed(plan.steps) if step.name in names]
    if not steps:
        return None
    note = f"{digest_json([(step.stage.name, step.key) for step in steps])[:24]}.json"
    folder = store.root / REFRESHES
    if folder.has(note) and not all(_is_finished(step, store) for step in steps):
        logger.info("refresh: going on with one that was begun")
        return note
    folder.remove(note)
    for step in steps:
        waiting = partial(logger.info, "%s: another run works on it; waiting for it before it is removed", step.name)
        store.discard_idle(step.stage.name, step.key, wait=True, on_wait=waiting)
    folder.write(note, b"{}")
    return note


def end_refresh(store: Store, note: str | None) -> None:
    """Note down that everything was built again: the same refresh then begins anew."""
    if note is not None:
        (store.root / REFRESHES).remove(note)


def _is_finished(step: Step, store: Store) -> bool:
    return store.look_up(step.stage.name, step.key).artifact is not None
