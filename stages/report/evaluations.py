"""The evaluations that the page shows, in its order: their roles, which are their nodes' names without "evaluate."."""

from typing import Final

EVALUATIONS: Final = (
    "attributes",
    "spatial",
    "complex",
    "clip_score",
    "tifa",
    "dpg",
    "dsg",
    "judge",
    "fidelity",
    "fid",
    "sensitivity",
)
