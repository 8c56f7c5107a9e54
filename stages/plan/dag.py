"""The DAG as data: which stage makes each node's artifact, and from which other nodes."""

import importlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from stages.plan.splits import EACH_OTHER, SPLITS, TEST, drawn_images, images_node
from stages.plan.stage import ShardedStage, Stage


@dataclass(frozen=True)
class Node:
    """One artifact of the DAG.

    Attributes:
        name: the node's name; of the form "stage.variant" where one stage makes several. With a star in it, it stands
            for one node of each other generator that its section names, the star being that name.
        module: the module whose STAGE builds it.
        section: the preset's section with its config, dots for nesting.
        inputs: role -> name of the node that plays it. Roles of nodes that a preset leaves out are left out too,
            which only the stage's optional inputs survive. A star stands for the name of each other generator; where
            the node's own name has one and the role has none, for the generator that the node is about.
        on_demand: part of the DAG only if the preset has its section.
        split: the one split of the prompts that it is about; part of the DAG only if its section asks for that split.
        stage: what the module calls the stage, for modules that have several.
    """

    name: str
    module: str
    section: str
    inputs: Mapping[str, str] = field(default_factory=dict)
    on_demand: bool = False
    split: str | None = None
    stage: str = "STAGE"


def load_stage(node: Node) -> Stage | ShardedStage:
    """Import a node's module and return its stage."""
    stage = getattr(importlib.import_module(node.module), node.stage)
    assert isinstance(stage, Stage | ShardedStage), f"{node.module}.{node.stage} is not a stage"
    return stage


def stage_of_node(name: str) -> Stage | ShardedStage:
    """The stage that makes a node's artifact, by the node's name in a plan, another generator's in the place of a star.

    Raises:
        KeyError: the DAG has no such node.
    """
    for node in NODES:
        if re.fullmatch(re.escape(node.name).replace(re.escape(EACH_OTHER), r"[^.]+"), name):
            return load_stage(node)
    raise KeyError(f"the DAG has no node {name!r}")


def stage_names() -> set[str]:
    """Names of all stages of the DAG: the only folders of a store that hold artifacts."""
    return {load_stage(node).name for node in NODES}


def _images(model: str, inputs: Mapping[str, str], module: str = "stages.images") -> tuple[Node, ...]:
    return tuple(Node(images_node(model, split), module, "images", inputs, split=split) for split in SPLITS)


def _evaluation(name: str, split: str = TEST, *, real: bool = False, **more_inputs: str) -> tuple[Node, ...]:
    """The scores of each model's images of a split and their comparison, for presets that have its section.

    Args:
        real: they are compared with those of real images.
    """

    def node(kind: str, inputs: Mapping[str, str], stage: str = "STAGE") -> Node:
        return Node(kind, f"stages.evaluate.{name}", f"evaluate.{name}", inputs, on_demand=True, stage=stage)

    scores = {model: f"scores.{name}.{model}" for model in ("base", "tuned", EACH_OTHER)}
    compared = {"prompts": "prompts", "base": scores["base"], "tuned": scores["tuned"], "other.*": scores[EACH_OTHER]}
    nodes = [
        node(scored, {"prompts": "prompts", "images": images_node(model, split)}, "SCORES")
        for model, scored in scores.items()
    ]
    if real:
        compared["real"] = f"scores.{name}.real"
        nodes.insert(0, node(compared["real"], {}, "REAL_SCORES"))  # before the star, which its name would fit
    return *nodes, node(f"evaluate.{name}", compared | more_inputs)


# In an order in which every node comes after its inputs; work that can overlap comes early.
EVALUATIONS = (
    *_evaluation("attributes"),
    *_evaluation("spatial"),
    *_evaluation("numeracy"),
    *_evaluation("spatial_3d"),
    *_evaluation("clip_score"),
    Node(
        "evaluate.complex",
        "stages.evaluate.complex",
        "evaluate.complex",
        {
            "prompts": "prompts",
            "attributes": "evaluate.attributes",
            "spatial": "evaluate.spatial",
            "clip_score": "evaluate.clip_score",
        },
        on_demand=True,
    ),
    *_evaluation("tifa", "tifa"),
    *_evaluation("dpg", "dpg"),
    *_evaluation("dsg", "dsg"),
    *_evaluation("geneval", "geneval"),
    *_evaluation("judge"),
    *_evaluation("fidelity", "fidelity", real=True, train="train"),
    *_evaluation("fid", "fidelity", real=True),
    *_evaluation("sensitivity", real=True),
)


NODES = (
    Node("prompts", "stages.prompts", "prompts"),
    Node("pairs", "stages.pairs", "pairs"),
    Node("entities", "stages.entities", "entities", {"prompts": "prompts"}),
    Node("adapt", "stages.adapt", "adapt", {"prompts": "prompts"}, on_demand=True),
    Node("latents", "stages.latents", "latents", {"prompts": "prompts", "adapt": "adapt"}),
    *_images("base", {"prompts": "prompts", "adapt": "adapt"}),
    Node(
        "train",
        "stages.train",
        "train",
        {"prompts": "prompts", "entities": "entities", "latents": "latents", "pairs": "pairs", "adapt": "adapt"},
    ),
    *_images("tuned", {"prompts": "prompts", "train": "train", "adapt": "adapt"}),
    *_images(EACH_OTHER, {"prompts": "prompts"}, "stages.images.other_images"),
    *EVALUATIONS,
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
            **drawn_images("base"),
            **drawn_images("tuned"),
            **drawn_images(EACH_OTHER),
            "adapt": "adapt",
            **{node.name: node.name for node in EVALUATIONS},
        },
    ),
)
