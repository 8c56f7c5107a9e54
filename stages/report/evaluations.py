"""The evaluations that the page shows, in its order: their roles, which are their nodes' names."""

from typing import Final

EVALUATIONS: Final = (
    "evaluate.attributes",
    "evaluate.spatial",
    "evaluate.numeracy",
    "evaluate.spatial_3d",
    "evaluate.complex",
    "evaluate.clip_score",
    "evaluate.tifa",
    "evaluate.dpg",
    "evaluate.dsg",
    "evaluate.geneval",
    "evaluate.judge",
    "evaluate.fidelity",
    "evaluate.fid",
    "evaluate.sensitivity",
)
