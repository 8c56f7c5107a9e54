"""Carrying out a plan with Prefect: submit what is wanted, in order, reuse what is cached."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from prefect import unmapped
from prefect.futures import PrefectFuture
from prefect.task_runners import TaskRunner
from pydantic import BaseModel, Field

from flows.runners import make_task_runner
from flows.tasks import Work, build_artifact, build_shard
from flows.worker_processes import workers_ended_on_failure
from stages.plan.pipeline import PROMPTS, Plan, PlannedNode, check_prompts
from stages.plan.presets import Execution
from stages.plan.stage import ShardedStage
from stages.store.artifacts import Artifact
from stages.store.store import Condition, Store

logger = logging.getLogger("comat")

GPU_TAG = "comat-gpu"
"""Tag of the tasks that may use a GPU. A concurrency limit on it makes them wait for each other, on any worker; the
place of a task that was killed is free again after a minute."""


class Outcome(BaseModel):
    """What became of one node."""

    key: str
    path: str
    cached: bool
    seconds: float  # spent on it by this run
    artifact: Artifact = Field(exclude=True)


class PlanRun:
    """One run of a plan: what was submitted, and what came of it."""

    def __init__(self, plan: Plan, store: Store, execution: Execution, runner: TaskRunner[Any]) -> None:
        self._store = store
        self._runner = runner
        self._plan = plan
        self._retries = {"retries": execution.retries, "retry_delay_seconds": execution.retry_delay}
        self._shards: dict[str, list[PrefectFuture[Any]]] = {}
        self._whole: dict[str, PrefectFuture[Any]] = {}
        self._cached: dict[str, bool] = {}
        self._artifacts: dict[str, Artifact] = {}

    def submit(self, node: PlannedNode) -> None:
        """Submit a node once its inputs are there; its shards, if any, as tasks of their own."""
        inputs = {role: self.artifact(source) for role, source in node.inputs.items()}
        work = Work.of(node, inputs, self._store)
        finding = self._store.look_up(node.stage.name, node.key, inputs, version=node.stage.version)
        self._cached[node.name] = finding.artifact is not None
        if finding.condition in (Condition.DAMAGED, Condition.OUTDATED):
            logger.warning("%s is %s (%s): building it again", node.name, finding.condition, finding.problems[0])
        if finding.artifact is None and isinstance(node.stage, ShardedStage):
            indices = list(range(node.stage.count_shards(node.config, inputs)))
            logger.info("%s: building, %d shards", node.name, len(indices))
            shard_task: Any = build_shard.with_options(tags=tags_of(node), **self._retries)
            shared = {"work": unmapped(work), "count": unmapped(len(indices))}
            self._shards[node.name] = self._runner.map(shard_task, {**shared, "index": indices})
        elif finding.artifact is None:
            logger.info("%s: building", node.name)
        whole_task = build_artifact.with_options(
            name=node.name,
            tags=tags_of(node) if finding.artifact is None else [],  # what is cached waits for no GPU
            **self._retries,
        )
        self._whole[node.name] = self._runner.submit(
            whole_task, {"work": work}, wait_for=self._shards.get(node.name, [])
        )

    def artifact(self, name: str) -> Artifact:
        """Wait for a node and return its artifact. A failure of a shard or of the node is raised here."""
        if name not in self._artifacts:
            for shard in self._shards.get(name, []):
                shard.result()
            self._whole[name].result()
            # Which artifact it is follows from the plan alone, whatever came back from wherever the task ran.
            node = self._plan.by_name[name]
            self._artifacts[name] = self._store.artifact(node.stage.name, node.key)
            if self._cached[name]:
                logger.info("%s: cached", name)
            else:
                logger.info("%s: done in %.1f s", name, self._artifacts[name].manifest.seconds)
        return self._artifacts[name]

    def outcomes(self) -> dict[str, Outcome]:
        """Wait for everything submitted; node name -> outcome, in the plan's order."""
        outcomes = {}
        for node in self._plan.nodes:
            if node.name in self._whole:
                artifact, cached = self.artifact(node.name), self._cached[node.name]
                seconds = 0.0 if cached else artifact.manifest.seconds
                outcomes[node.name] = Outcome(
                    key=artifact.key, path=path_of(artifact), cached=cached, seconds=seconds, artifact=artifact
                )
        return outcomes


def tags_of(node: PlannedNode) -> list[str]:
    """The tags of a node's tasks."""
    return [GPU_TAG] if node.stage.loads_models and getattr(node.config, "device", "cpu") != "cpu" else []


@contextmanager
def started(plan: Plan, store: Store, execution: Execution) -> Iterator[PlanRun]:
    """Start the task runner for a run of the plan.

    Raises:
        UserError: the runner is not installed.
        WorkerLostError: a worker process of this machine was killed.
        TrainingStopped: after SIGTERM, once the state of the training under way is saved.
    """
    with make_task_runner(execution) as runner, workers_ended_on_failure():
        yield PlanRun(plan, store, execution, runner)


def carry_out(plan: Plan, wanted: set[str], store: Store, execution: Execution) -> dict[str, Outcome]:
    """Build the wanted nodes of a plan, reusing what the store has.

    Raises:
        UserError: a node can do nothing with the prompts; or a user's mistake in one of them.
        TrainingStopped: after SIGTERM, once the state of the training under way is saved.
    """
    with started(plan, store, execution) as run:
        for node in plan.nodes:
            if node.name in wanted:
                run.submit(node)
            if node.name in wanted and node.name == PROMPTS:
                check_prompts(plan, wanted, run.artifact(node.name), store)
        return run.outcomes()


def path_of(artifact: Artifact) -> str:
    """Where an artifact lies: a path on this machine's disk, or a URL."""
    local: Path | None = artifact.folder.local
    return str(local) if local is not None else artifact.url
