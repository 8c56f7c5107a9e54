"""The DAG as data: which stage makes each node's artifact, and from which other nodes."""

import importlib
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
            which only the stage's optional inputs survive. A star stands for the name of each other generator.
        on_demand: part of the DAG only if the preset has its section.
        like: another section, whose settings hold where this node's own leaves one of the same name open.
        split: the one split of the prompts that it is about; part of the DAG only if its section asks for that split.
    """

    name: str
    module: str
    section: str
    inputs: Mapping[str, str] = field(default_factory=dict)
    on_demand: bool = False
    split: str | None = None
    like: str | None = None


def load_stage(module: str) -> Stage | ShardedStage:
    """Import a stage module and return its STAGE."""
    stage = importlib.import_module(module).STAGE
    assert isinstance(stage, Stage | ShardedStage), f"{module}.STAGE is not a stage"
    return stage


def stage_names() -> set[str]:
    """Names of all stages of the DAG: the only folders of a store that hold artifacts."""
    return {load_stage(node.module).name for node in NODES}


def _images(model: str, inputs: Mapping[str, str], module: str = "stages.images") -> tuple[Node, ...]:
    return tuple(Node(images_node(model, split), module, "images", inputs, split=split) for split in SPLITS)


def _attention(model: str, inputs: Mapping[str, str]) -> Node:
    """A model's maps, drawn as its images are: what the section leaves open is taken from theirs."""
    return Node(f"attention.{model}", "stages.attention", "attention", inputs, on_demand=True, like="images")


def _evaluation(name: str, split: str = TEST, **more_inputs: str) -> Node:
    """An evaluation that scores the images of a split, for presets that have its section."""
    inputs = {"prompts": "prompts", "base": images_node("base", split), "tuned": images_node("tuned", split)}
    inputs["other.*"] = images_node(EACH_OTHER, split)
    section = f"evaluate.{name}"
    return Node(section, f"stages.evaluate.{name}", section, inputs | more_inputs, on_demand=True)


# In an order in which every node comes after its inputs; work that can overlap comes early.
NODES = (
    Node("prompts", "stages.prompts", "prompts"),
    Node("pairs", "stages.pairs", "pairs"),
    Node("entities", "stages.entities", "entities", {"prompts": "prompts"}),
    Node("adapt", "stages.adapt", "adapt", {"prompts": "prompts"}, on_demand=True),
    Node("latents", "stages.latents", "latents", {"prompts": "prompts", "adapt": "adapt"}),
    *_images("base", {"prompts": "prompts", "adapt": "adapt"}),
    _attention("base", {"prompts": "prompts", "entities": "entities", "adapt": "adapt"}),
    Node(
        "train",
        "stages.train",
        "train",
        {"prompts": "prompts", "entities": "entities", "latents": "latents", "pairs": "pairs", "adapt": "adapt"},
    ),
    *_images("tuned", {"prompts": "prompts", "train": "train", "adapt": "adapt"}),
    _attention("tuned", {"prompts": "prompts", "entities": "entities", "train": "train", "adapt": "adapt"}),
    *_images(EACH_OTHER, {"prompts": "prompts"}, "stages.images.other_images"),
    _evaluation("attributes"),
    _evaluation("spatial"),
    _evaluation("numeracy"),
    _evaluation("spatial_3d"),
    _evaluation("clip_score"),
    _evaluation(
        "complex", attributes="evaluate.attributes", spatial="evaluate.spatial", clip_score="evaluate.clip_score"
    ),
    _evaluation("tifa", "tifa"),
    _evaluation("dpg", "dpg"),
    _evaluation("dsg", "dsg"),
    _evaluation("geneval", "geneval"),
    _evaluation("judge"),
    _evaluation("fidelity", "fidelity", train="train"),
    _evaluation("fid", "fidelity"),
    _evaluation("sensitivity"),
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
            "attention.base": "attention.base",
            "attention.tuned": "attention.tuned",
            "adapt": "adapt",
            "attributes": "evaluate.attributes",
            "judge": "evaluate.judge",
            "fidelity": "evaluate.fidelity",
            "fid": "evaluate.fid",
            "sensitivity": "evaluate.sensitivity",
            "spatial": "evaluate.spatial",
            "numeracy": "evaluate.numeracy",
            "spatial_3d": "evaluate.spatial_3d",
            "complex": "evaluate.complex",
            "clip_score": "evaluate.clip_score",
            "tifa": "evaluate.tifa",
            "dpg": "evaluate.dpg",
            "dsg": "evaluate.dsg",
            "geneval": "evaluate.geneval",
        },
    ),
)
