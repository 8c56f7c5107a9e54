"""From a preset to a plan: the nodes with their configs and keys, and what to do about each.

Keys follow from configs and inputs' keys alone, so what the store holds is known before anything runs.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

from comat_core.support.errors import UserError
from stages.models.usable_models import check_models
from stages.plan import dag
from stages.plan.config import StageConfig
from stages.plan.dag import Node, load_stage
from stages.plan.splits import EACH_OTHER
from stages.plan.stage import ShardedStage, Stage
from stages.store.artifacts import Artifact
from stages.store.store import Condition, Finding, Store

PROMPTS = "prompts"
"""The step that everything else is made from."""


@dataclass(frozen=True)
class Step:
    """A node with everything that its artifact depends on.

    Attributes:
        sources: role -> the step that plays it.
    """

    node: Node
    stage: Stage | ShardedStage
    config: StageConfig
    sources: "dict[str, Step]"

    @property
    def name(self) -> str:
        return self.node.name

    @property
    def inputs(self) -> dict[str, str]:
        """Role -> name of the step that plays it."""
        return {role: source.name for role, source in self.sources.items()}

    @cached_property
    def key(self) -> str:
        """The artifact's key, computed when it is asked for: a step that nobody wants needs no files.

        Raises:
            UserError: a file that the step's config names is missing.
        """
        return self.stage.key(self.config, {role: source.key for role, source in self.sources.items()})


@dataclass(frozen=True)
class Plan:
    """The steps of one preset, each after its inputs."""

    steps: tuple[Step, ...]
    inputs: dict[str, set[str]] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "inputs", {step.name: set(step.inputs.values()) for step in self.steps})

    @cached_property
    def by_name(self) -> dict[str, Step]:
        return {step.name: step for step in self.steps}

    def select(self, names: Iterable[str], option: str) -> set[str]:
        """The steps that a user's words mean: a step's name, or a stage's name for all of its steps.

        Raises:
            UserError: a word that means none.
        """
        selected: set[str] = set()
        for name in names:
            steps = {step.name for step in self.steps if step.name == name or step.name.startswith(f"{name}.")}
            if not steps:
                known = ", ".join(step.name for step in self.steps)
                raise UserError(f"unknown stage {name!r}", option, f"choose one of: {known}")
            selected |= steps
        return selected

    def wanted(self, only: Iterable[str]) -> set[str]:
        """The steps that a run has to have: all, or the chosen ones with what they are made from.

        Raises:
            UserError: a word of `only` that means no step, or a missing file that one of the steps needs.
        """
        names = list(only)
        found = self.with_inputs(self.select(names, "--only")) if names else set(self.by_name)
        for step in self.steps:
            if step.name in found:
                _ = step.key
        return found

    def renewed(self, refresh: Iterable[str], wanted: set[str]) -> set[str]:
        """The wanted steps that are to be computed again: the chosen ones, and what depends on them.

        Raises:
            UserError: a word of `refresh` that means no step, or one that the run does not come to.
        """
        chosen = self.select(refresh, "--refresh")
        if unwanted := sorted(chosen - wanted):
            raise UserError(f"the run does not come to {unwanted[0]}", "--refresh", f"add --only {unwanted[0]}")
        return self.with_dependents(chosen) & wanted

    def with_inputs(self, names: set[str]) -> set[str]:
        """The steps and everything that they are made from."""
        found = set(names)
        for step in reversed(self.steps):
            if step.name in found:
                found |= self.inputs[step.name]
        return found

    def with_dependents(self, names: set[str]) -> set[str]:
        """The steps and everything that is made from them."""
        found = set(names)
        for step in self.steps:
            if self.inputs[step.name] & found:
                found.add(step.name)
        return found


def make_plan(sections: dict[str, StageConfig]) -> Plan:
    """Wire the nodes of a preset together.

    Args:
        sections: section name -> config. A node without a section here is not part of the plan.

    Raises:
        UserError: a step needs images of a split that the preset draws none of.
    """
    made: dict[str, dict[str, Step]] = {}
    for node in dag.NODES:
        config = sections.get(node.section)
        if config is not None and node.split is not None:
            config = config.limited_to(node.split)
        if config is None:
            continue
        made[node.name] = {
            name: _make_step(node, name, own, made) for name, own in _configs_by_name(node, config, made).items()
        }
    return Plan(tuple(step for steps in made.values() for step in steps.values()))


Made = Mapping[str, Mapping[str, Step]]
"""Name of a node -> name of a generator -> its step. A node without a star in its name has one, under no name."""


def _configs_by_name(node: Node, config: StageConfig, made: Made) -> Mapping[str, StageConfig]:
    """Name of a generator -> config of the node's step about it."""
    if EACH_OTHER not in node.name:
        return {"": config}
    followed = [made.get(source, {}) for source in node.inputs.values() if EACH_OTHER in source]
    return config.of_others() if not followed else {name: config for steps in followed for name in steps}


def _make_step(node: Node, name: str, config: StageConfig, made: Made) -> Step:
    """Wire one step of a node: the one about the generator of that name, if the node has a star."""
    stage = load_stage(node)
    sources = {
        role.replace(EACH_OTHER, other): step
        for role, source in node.inputs.items()
        for other, step in made.get(source, {}).items()
        if EACH_OTHER in role or EACH_OTHER not in source or other == name
    }
    _check_images(node, stage, sources)
    return Step(replace(node, name=node.name.replace(EACH_OTHER, name)), stage, config, sources)


def _check_images(node: Node, stage: Stage | ShardedStage, sources: dict[str, Step]) -> None:
    splits = {other.name: other.split for other in dag.NODES}
    for role in stage.inputs:
        split = splits.get(node.inputs.get(role, ""))
        if role not in sources and split is not None:
            raise UserError(
                f"{node.section} needs images of the split {split!r}",
                "images.samples",
                f"say there how many of each prompt to draw, as {split}: 1",
            )


def look_up(plan: Plan, store: Store) -> dict[str, Finding]:
    """What the store holds of every step, in the plan's order. One whose inputs cannot be used is judged by itself."""
    findings: dict[str, Finding] = {}
    for step in plan.steps:
        artifacts = {role: findings[source].artifact for role, source in step.inputs.items()}
        usable = {role: artifact for role, artifact in artifacts.items() if artifact is not None}
        inputs = usable if len(usable) == len(artifacts) else None
        blocking = [source for source in step.inputs.values() if findings[source].condition is Condition.BLOCKED]
        if blocking:
            findings[step.name] = Finding(condition=Condition.BLOCKED, problems=[f"it is made from {blocking[0]}"])
            continue
        try:
            findings[step.name] = store.look_up(step.stage.name, step.key, inputs, version=step.stage.version)
        except UserError as error:
            findings[step.name] = Finding(condition=Condition.BLOCKED, problems=[str(error)])
    return findings


def fetch_files(plan: Plan, wanted: set[str], renewed: set[str], store: Store) -> None:
    """Get the files that the steps still to be built read beside their inputs, and check the models that they load.

    Args:
        wanted: names of the steps that the run has to have.
        renewed: those of them that it builds whatever the store has.

    Raises:
        UserError: one cannot be had, or cannot be used.
    """
    to_be_built = _to_be_built(plan, wanted, renewed, store)
    for step in _one_of_each(plan, to_be_built):
        step.stage.fetch_files(step.config)
        if step.stage.loads_models:
            check_models(step.config, step.node.section)


def check_prompts(plan: Plan, wanted: set[str], prompts: Artifact, store: Store) -> None:
    """Let the steps still to be built check the run's prompts, before anything is made from them.

    Args:
        wanted: names of the steps that the run has to have.

    Raises:
        UserError: a step can do nothing with them.
    """
    to_be_built = _to_be_built(plan, wanted, set(), store)
    checked: set[int] = set()
    for step in plan.steps:
        if step.name in to_be_built and id(step.config) not in checked:
            step.config.check_prompts(prompts)
            checked.add(id(step.config))


def _one_of_each(plan: Plan, names: set[str]) -> Iterator[Step]:
    """Of several steps that one stage makes with one config, the first: they read the same files."""
    seen: set[tuple[str, int]] = set()
    for step in plan.steps:
        identity = (step.stage.name, id(step.config))
        if step.name in names and identity not in seen:
            seen.add(identity)
            yield step


def _to_be_built(plan: Plan, wanted: set[str], renewed: set[str], store: Store) -> set[str]:
    """The wanted steps that the store lacks, or that are made from one that it lacks or that is made again.

    Raises:
        UserError: a file that one of them needs is missing.
    """
    found: dict[str, Artifact] = {}
    for step in plan.steps:
        if step.name in wanted:
            inputs = {role: found[source] for role, source in step.inputs.items() if source in found}
            artifact = store.look_up(step.stage.name, step.key, inputs).artifact
            if artifact is not None and step.name not in renewed and len(inputs) == len(step.inputs):
                found[step.name] = artifact
    return wanted - set(found)


def is_trained(plan: Plan, store: Store) -> bool:
    """Whether the store holds the plan's trained model. One that lacks a file to be made from has not been trained."""
    step = plan.by_name.get("train")
    try:
        return step is not None and store.look_up(step.stage.name, step.key).artifact is not None
    except UserError:
        return False
