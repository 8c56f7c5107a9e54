"""The progress of stages that are done in one piece, for Prefect's UI."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import copy_context

from prefect.artifacts import create_progress_artifact

SECONDS_BETWEEN = 15.0


def show_progress(node: str, share: float, description: str) -> None:
    """Show how far a node is.

    Args:
        share: what is done, in [0, 1].
    """
    create_progress_artifact(100 * share, key=f"comat-{node.replace('.', '-')}", description=description)


@contextmanager
def progress_shown(node: str, measure: Callable[[], float]) -> Iterator[None]:
    """Show every now and then, while the block runs, how far it is; at its end, that it is done.

    Args:
        measure: gives the share that is done, in [0, 1]; called in a thread of its own.
    """
    ended = threading.Event()

    def watch() -> None:
        shown = 0.0
        while not ended.wait(SECONDS_BETWEEN):
            share = measure()
            if share > shown:
                show_progress(node, share, f"{node}: {share:.0%}")
                shown = share

    # The copied context tells Prefect which task run the artifacts belong to.
    watcher = threading.Thread(target=copy_context().run, args=(watch,), daemon=True)
    watcher.start()
    try:
        yield
    finally:
        ended.set()
        watcher.join()
    show_progress(node, 1.0, f"{node}: done")
