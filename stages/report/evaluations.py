"""The evaluations that the page shows, in its order: their roles, which are their nodes' names without "evaluate."."""

from typing import Final

EVALUATIONS: Final = (
    "attributes",
    "spatial",
    "numeracy",
    "spatial_3d",
    "complex",
    "clip_score",
    "tifa",
    "dpg",
    "dsg",
    "geneval",
    "judge",
    "fidelity",
    "fid",
    "sensitivity",
)
