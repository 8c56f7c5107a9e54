"""From a preset to a plan: the nodes with their configs and keys, and what to do about each.

Keys follow from configs and inputs' keys alone, so what the store holds is known before anything runs.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

from comat_core.support.errors import UserError
from stages.models.model_checks import check_models
from stages.plan import dag
from stages.plan.config import StageConfig
from stages.plan.dag import Node, load_stage
from stages.plan.splits import EACH_OTHER
from stages.plan.stage import ShardedStage, Stage
from stages.store.artifacts import Artifact
from stages.store.store import Condition, Finding, Store

PROMPTS = "prompts"
"""The node that everything else is made from."""


@dataclass(frozen=True)
class PlannedNode:
    """A node of a preset's DAG, with everything that its artifact depends on.

    Attributes:
        declared: what the DAG says of it; its name is another generator's where that has a star.
        sources: role -> the node that plays it.
    """

    declared: Node
    stage: Stage | ShardedStage
    config: StageConfig
    sources: "dict[str, PlannedNode]"

    @property
    def name(self) -> str:
        return self.declared.name

    @property
    def inputs(self) -> dict[str, str]:
        """Role -> name of the node that plays it."""
        return {role: source.name for role, source in self.sources.items()}

    @cached_property
    def key(self) -> str:
        """The artifact's key, computed when it is asked for: a node that nobody wants needs no files.

        Raises:
            UserError: a file that the node's config names is missing.
        """
        return self.stage.key(self.config, {role: source.key for role, source in self.sources.items()})


@dataclass(frozen=True)
class Plan:
    """The nodes of one preset, each after its inputs."""

    nodes: tuple[PlannedNode, ...]
    inputs: dict[str, set[str]] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "inputs", {node.name: set(node.inputs.values()) for node in self.nodes})

    @cached_property
    def by_name(self) -> dict[str, PlannedNode]:
        return {node.name: node for node in self.nodes}

    def select(self, names: Iterable[str], option: str) -> set[str]:
        """The nodes that a user's words mean: a node's name, or a stage's name for all of its nodes.

        Raises:
            UserError: a word that means none.
        """
        selected: set[str] = set()
        for name in names:
            nodes = {node.name for node in self.nodes if node.name == name or node.name.startswith(f"{name}.")}
            if not nodes:
                known = ", ".join(node.name for node in self.nodes)
                raise UserError(f"unknown stage {name!r}", option, f"choose one of: {known}")
            selected |= nodes
        return selected

    def wanted(self, only: Iterable[str]) -> set[str]:
        """The nodes that a run has to have: all, or the chosen ones with what they are made from.

        Raises:
            UserError: a word of `only` that means no node, or a missing file that one of the nodes needs.
        """
        names = list(only)
        found = self.with_inputs(self.select(names, "--only")) if names else set(self.by_name)
        for node in self.nodes:
            if node.name in found:
                _ = node.key
        return found

    def renewed(self, refresh: Iterable[str], wanted: set[str]) -> set[str]:
        """The wanted nodes that are to be computed again: the chosen ones, and what depends on them.

        Raises:
            UserError: a word of `refresh` that means no node, or one that the run does not come to.
        """
        chosen = self.select(refresh, "--refresh")
        if unwanted := sorted(chosen - wanted):
            raise UserError(f"the run does not come to {unwanted[0]}", "--refresh", f"add --only {unwanted[0]}")
        return self.with_dependents(chosen) & wanted

    def with_inputs(self, names: set[str]) -> set[str]:
        """The nodes and everything that they are made from."""
        found = set(names)
        for node in reversed(self.nodes):
            if node.name in found:
                found |= self.inputs[node.name]
        return found

    def with_dependents(self, names: set[str]) -> set[str]:
        """The nodes and everything that is made from them."""
        found = set(names)
        for node in self.nodes:
            if self.inputs[node.name] & found:
                found.add(node.name)
        return found


def make_plan(sections: dict[str, StageConfig]) -> Plan:
    """Wire the nodes of a preset together.

    Args:
        sections: section name -> config. A node without a section here is not part of the plan.

    Raises:
        UserError: a node needs images of a split that the preset draws none of.
    """
    made: dict[str, dict[str, PlannedNode]] = {}
    for declared in dag.nodes_for(sections):
        config = sections.get(declared.section)
        if config is not None and declared.split is not None:
            config = config.limited_to(declared.split)
        if config is None:
            continue
        made[declared.name] = {
            name: _make_node(declared, name, own, made)
            for name, own in _configs_by_name(declared, config, made).items()
        }
    return Plan(tuple(node for nodes in made.values() for node in nodes.values()))


Made = Mapping[str, Mapping[str, PlannedNode]]
"""Name of a declared node -> name of a generator -> its node. One without a star in its name has one, under no name."""


def _configs_by_name(declared: Node, config: StageConfig, made: Made) -> Mapping[str, StageConfig]:
    """Name of a generator -> config of the node about it."""
    if EACH_OTHER not in declared.name:
        return {"": config}
    followed = [made.get(source, {}) for source in declared.inputs.values() if EACH_OTHER in source]
    return config.of_others() if not followed else {name: config for nodes in followed for name in nodes}


def _make_node(declared: Node, name: str, config: StageConfig, made: Made) -> PlannedNode:
    """Wire one node: the one about the generator of that name, if the declared node has a star."""
    stage = load_stage(declared.module, declared.stage)
    sources = {
        role.replace(EACH_OTHER, other): node
        for role, source in declared.inputs.items()
        for other, node in made.get(source, {}).items()
        if EACH_OTHER in role or EACH_OTHER not in source or other == name
    }
    _check_images(declared, stage, sources)
    return PlannedNode(replace(declared, name=declared.name.replace(EACH_OTHER, name)), stage, config, sources)


def _check_images(declared: Node, stage: Stage | ShardedStage, sources: dict[str, PlannedNode]) -> None:
    splits = {other.name: other.split for other in dag.NODES}
    for role in stage.inputs:
        split = splits.get(declared.inputs.get(role, ""))
        if role not in sources and split is not None:
            raise UserError(
                f"{declared.section} needs images of the split {split!r}",
                "images.samples",
                f"say there how many of each prompt to draw, as {split}: 1",
            )


def look_up(plan: Plan, store: Store) -> dict[str, Finding]:
    """What the store holds of every node, in the plan's order. One whose inputs cannot be used is judged by itself."""
    findings: dict[str, Finding] = {}
    for node in plan.nodes:
        artifacts = {role: findings[source].artifact for role, source in node.inputs.items()}
        usable = {role: artifact for role, artifact in artifacts.items() if artifact is not None}
        inputs = usable if len(usable) == len(artifacts) else None
        blocking = [source for source in node.inputs.values() if findings[source].condition is Condition.BLOCKED]
        if blocking:
            findings[node.name] = Finding(condition=Condition.BLOCKED, problems=[f"it is made from {blocking[0]}"])
            continue
        try:
            findings[node.name] = store.look_up(node.stage.name, node.key, inputs, version=node.stage.version)
        except UserError as error:
            findings[node.name] = Finding(condition=Condition.BLOCKED, problems=[str(error)])
    return findings


def fetch_files(plan: Plan, wanted: set[str], renewed: set[str], store: Store) -> None:
    """Get the files that the nodes still to be built read beside their inputs, and check the models that they load.

    Args:
        wanted: names of the nodes that the run has to have.
        renewed: those of them that it builds whatever the store has.

    Raises:
        UserError: one cannot be had, or cannot be used.
    """
    to_be_built = _to_be_built(plan, wanted, renewed, store)
    for node in _one_of_each(plan, to_be_built):
        node.stage.fetch_files(node.config)
        if node.stage.loads_models:
            check_models(node.config, node.declared.section)


def check_prompts(plan: Plan, wanted: set[str], prompts: Artifact, store: Store) -> None:
    """Let the nodes still to be built check the run's prompts, before anything is made from them.

    Args:
        wanted: names of the nodes that the run has to have.

    Raises:
        UserError: a node can do nothing with them.
    """
    to_be_built = _to_be_built(plan, wanted, set(), store)
    checked: set[int] = set()
    for node in plan.nodes:
        if node.name in to_be_built and id(node.config) not in checked:
            node.config.check_prompts(prompts)
            checked.add(id(node.config))


def _one_of_each(plan: Plan, names: set[str]) -> Iterator[PlannedNode]:
    """Of several nodes that one stage makes with one config, the first: they read the same files."""
    seen: set[tuple[str, int]] = set()
    for node in plan.nodes:
        identity = (node.stage.name, id(node.config))
        if node.name in names and identity not in seen:
            seen.add(identity)
            yield node


def _to_be_built(plan: Plan, wanted: set[str], renewed: set[str], store: Store) -> set[str]:
    """The wanted nodes that the store lacks, or that are made from one that it lacks or that is made again.

    Raises:
        UserError: a file that one of them needs is missing.
    """
    found: dict[str, Artifact] = {}
    for node in plan.nodes:
        if node.name in wanted:
            inputs = {role: found[source] for role, source in node.inputs.items() if source in found}
            artifact = store.look_up(node.stage.name, node.key, inputs).artifact
            if artifact is not None and node.name not in renewed and len(inputs) == len(node.inputs):
                found[node.name] = artifact
    return wanted - set(found)


def is_trained(plan: Plan, store: Store) -> bool:
    """Whether the store holds the plan's trained model. One that lacks a file to be made from has not been trained."""
    node = plan.by_name.get("train")
    try:
        return node is not None and store.look_up(node.stage.name, node.key).artifact is not None
    except UserError:
        return False
