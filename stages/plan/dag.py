"""The DAG as data: which stage makes each node's artifact, and from which other nodes."""

import importlib
from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache

from stages.evaluate.declared.benchmark import Benchmark
from stages.evaluate.declared.registry import MODULE, benchmarks, drawn_images, in_official_mode, splits
from stages.plan.splits import EACH_OTHER, images_node
from stages.plan.stage import ShardedStage, Stage

MODELS = {"base": "base", "tuned": "tuned", EACH_OTHER: f"other.{EACH_OTHER}"}
"""Model -> its role in comparisons."""
MADE_FROM = {"base": {"adapt": "adapt"}, "tuned": {"train": "train", "adapt": "adapt"}}
"""Model -> what it is made from, beside the checkpoint that settings name."""
AUDIT = "audit.{model}"
"""The section of a preset that says who draws a model's images where nothing is trained."""


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
        like: another section, whose settings hold where this node's own leaves one of the same name open.
        split: the one split of the prompts that it is about; part of the DAG only if its section asks for that split.
        stage: what the module calls the stage, for modules that have several.
    """

    name: str
    module: str
    section: str
    inputs: Mapping[str, str] = field(default_factory=dict)
    on_demand: bool = False
    split: str | None = None
    like: str | None = None
    stage: str = "STAGE"


def load_stage(module: str, name: str = "STAGE") -> Stage | ShardedStage:
    """Import a module and return the stage that it has by that name."""
    stage = getattr(importlib.import_module(module), name)
    assert isinstance(stage, Stage | ShardedStage), f"{module}.{name} is not a stage"
    return stage


def stage_names() -> set[str]:
    """Names of all stages of the DAG: the only folders of a store that hold artifacts."""
    return {load_stage(node.module, node.stage).name for node in NODES}


def _images(model: str, inputs: Mapping[str, str], module: str = "stages.images") -> tuple[Node, ...]:
    return tuple(Node(images_node(model, split), module, "images", inputs, split=split) for split in splits())


def _attention(model: str, inputs: Mapping[str, str]) -> Node:
    """A model's maps, drawn as its images are: what the section leaves open is taken from theirs."""
    return Node(f"attention.{model}", "stages.attention", "attention", inputs, on_demand=True, like="images")


def _scores(benchmark: Benchmark, models: Mapping[str, str]) -> Iterator[Node]:
    """The scores of the images that a benchmark looks at, and their distances: of real ones, of each model's."""
    real = benchmark.scores_node("real")
    if benchmark.real_scores is not None:  # before the star, which its name would fit
        yield _of_benchmark(benchmark, real, {}, "REAL_SCORES")
    if benchmark.of_models:
        for model, inputs in MADE_FROM.items():
            yield _of_benchmark(benchmark, benchmark.scores_node(model), inputs, "SCORES")
    elif benchmark.scores is not None:
        for model in models:
            inputs = {"prompts": "prompts", "images": images_node(model, benchmark.split)}
            yield _of_benchmark(benchmark, benchmark.scores_node(model), inputs, "SCORES")
    if benchmark.real_distances is not None:
        yield _of_benchmark(benchmark, benchmark.distances_node("real"), {"scores": real}, "REAL_DISTANCES")
    if benchmark.distances is not None:
        for model in models:
            inputs = {"scores": benchmark.scores_node(model), "real": real}
            yield _of_benchmark(benchmark, benchmark.distances_node(model), inputs, "DISTANCES")


def _comparison(benchmark: Benchmark, models: Mapping[str, str]) -> Node:
    """The comparison of a benchmark's scores, or of their distances to those of real images."""
    if benchmark.of_models:
        inputs = {model: benchmark.scores_node(model) for model in MADE_FROM}
        return _of_benchmark(benchmark, benchmark.node, inputs, "STAGE")
    inputs = {"prompts": "prompts", **benchmark.inputs}
    of_distances = benchmark.distances is not None
    node_of = benchmark.distances_node if of_distances else benchmark.scores_node
    if benchmark.scores is not None:
        inputs |= {role: node_of(model) for model, role in models.items()}
    if (benchmark.real_distances if of_distances else benchmark.real_scores) is not None:
        inputs["real"] = node_of("real")
    return _of_benchmark(benchmark, benchmark.node, inputs, "STAGE")


def _of_benchmark(benchmark: Benchmark, name: str, inputs: Mapping[str, str], stage: str) -> Node:
    """A node for presets that have the benchmark's section."""
    module = MODULE.format(name=benchmark.name)
    like = "images" if benchmark.of_models else None
    return Node(name, module, benchmark.node, inputs, on_demand=True, like=like, stage=stage)


def _evaluations(measured: Sequence[Benchmark], models: Mapping[str, str]) -> tuple[Node, ...]:
    """All scores before the first comparison, which waits for its own."""
    scores = [node for benchmark in measured for node in _scores(benchmark, models)]
    return (*scores, *(_comparison(benchmark, models) for benchmark in measured))


def nodes_for(sections: Container[str]) -> tuple[Node, ...]:
    """The DAG of a preset that has these sections: that of an audit where one names an audited model.

    Args:
        sections: their names, dots for nesting.
    """
    audited = tuple(model for model in ("base", "tuned") if AUDIT.format(model=model) in sections)
    return audit_nodes(audited) if audited else NODES


@cache
def audit_nodes(models: tuple[str, ...]) -> tuple[Node, ...]:
    """The DAG of an audit: nothing is trained, whatever draws the images, and both modes of a protocol can be measured.

    Args:
        models: those that draw: base, or base and tuned.
    """
    drawn = [
        Node(
            images_node(model, split),
            "stages.images.other_images",
            AUDIT.format(model=model),
            {"prompts": "prompts"},
            on_demand=True,
            split=split,
        )
        for model in models
        for split in splits()
    ]
    of_images = [benchmark for benchmark in benchmarks() if not benchmark.of_models]
    evaluations = _evaluations([*of_images, *in_official_mode()], {model: model for model in models})
    shown = {role: node for model in models for role, node in drawn_images(model).items()}
    of_report = {"prompts": "prompts", **shown, **{node.name: node.name for node in evaluations}}
    return (
        Node("prompts", "stages.prompts", "prompts"),
        *drawn,
        *evaluations,
        Node("report", "stages.report", "report", of_report),
    )


def make_nodes() -> tuple[Node, ...]:
    """The DAG of all benchmarks, every node after its inputs; work that can overlap comes early."""
    evaluations = _evaluations(benchmarks(), MODELS)
    return (
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
        *evaluations,
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
                **{node.name: node.name for node in evaluations},
            },
        ),
    )


NODES = make_nodes()
