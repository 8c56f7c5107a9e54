"""The DAG as data: which stage makes each node's artifact, and from which other nodes."""

import importlib
from collections.abc import Mapping
from dataclasses import dataclass, field

from stages.stage import ShardedStage, Stage


@dataclass(frozen=True)
class Node:
    """One artifact of the DAG.

    Attributes:
        name: the node's name; of the form "stage.variant" where one stage makes several.
        module: the module whose STAGE builds it.
        section: the preset's section with its config, dots for nesting.
        inputs: role -> name of the node that plays it. Roles of nodes that a preset leaves out are left out too,
            which only the stage's optional inputs survive.
        on_demand: part of the DAG only if the preset has its section.
    """

    name: str
    module: str
    section: str
    inputs: Mapping[str, str] = field(default_factory=dict)
    on_demand: bool = False


def load_stage(module: str) -> Stage | ShardedStage:
    """Import a stage module and return its STAGE."""
    stage = importlib.import_module(module).STAGE
    assert isinstance(stage, Stage | ShardedStage), f"{module}.STAGE is not a stage"
    return stage


EVALUATED_IMAGES = {"prompts": "prompts", "base": "images.base", "tuned": "images.tuned"}

# In an order in which every node comes after its inputs; work that can overlap comes early.
NODES = (
    Node("prompts", "stages.prompts", "prompts"),
    Node("pairs", "stages.pairs", "pairs"),
    Node("entities", "stages.entities", "entities", {"prompts": "prompts"}),
    Node("adapt", "stages.adapt", "adapt", {"prompts": "prompts"}, on_demand=True),
    Node("latents", "stages.latents", "latents", {"prompts": "prompts", "adapt": "adapt"}),
    Node("images.base", "stages.images", "images", {"prompts": "prompts", "adapt": "adapt"}),
    Node(
        "train",
        "stages.train",
        "train",
        {"prompts": "prompts", "entities": "entities", "latents": "latents", "pairs": "pairs", "adapt": "adapt"},
    ),
    Node("images.tuned", "stages.images", "images", {"prompts": "prompts", "train": "train", "adapt": "adapt"}),
    Node(
        "evaluate.attributes",
        "stages.evaluate.attributes",
        "evaluate.attributes",
        EVALUATED_IMAGES,
        on_demand=True,
    ),
    Node("evaluate.spatial", "stages.evaluate.spatial", "evaluate.spatial", EVALUATED_IMAGES, on_demand=True),
    Node("evaluate.clip_score", "stages.evaluate.clip_score", "evaluate.clip_score", EVALUATED_IMAGES, on_demand=True),
    Node(
        "evaluate.complex",
        "stages.evaluate.complex",
        "evaluate.complex",
        {
            **EVALUATED_IMAGES,
            "attributes": "evaluate.attributes",
            "spatial": "evaluate.spatial",
            "clip_score": "evaluate.clip_score",
        },
        on_demand=True,
    ),
    Node("evaluate.tifa", "stages.evaluate.tifa", "evaluate.tifa", EVALUATED_IMAGES, on_demand=True),
    Node("evaluate.dpg", "stages.evaluate.dpg", "evaluate.dpg", EVALUATED_IMAGES, on_demand=True),
    Node("evaluate.dsg", "stages.evaluate.dsg", "evaluate.dsg", EVALUATED_IMAGES, on_demand=True),
    Node("evaluate.judge", "stages.evaluate.judge", "evaluate.judge", EVALUATED_IMAGES, on_demand=True),
    Node("evaluate.fidelity", "stages.evaluate.fidelity", "evaluate.fidelity", EVALUATED_IMAGES, on_demand=True),
    Node(
        "report",
        "stages.report",
        "report",
        {
            "prompts": "prompts",
            "entities": "entities",
            "pairs": "pairs",
            "latents": "latents",
            "train": "train",
            "base": "images.base",
            "tuned": "images.tuned",
            "adapt": "adapt",
            "attributes": "evaluate.attributes",
            "judge": "evaluate.judge",
            "fidelity": "evaluate.fidelity",
            "spatial": "evaluate.spatial",
            "complex": "evaluate.complex",
            "clip_score": "evaluate.clip_score",
            "tifa": "evaluate.tifa",
            "dpg": "evaluate.dpg",
            "dsg": "evaluate.dsg",
        },
    ),
)
