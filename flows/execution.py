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

from comat_core.support.errors import UserError
from comat_core.support.library_imports import import_model_libraries
from flows.runners import make_task_runner
from flows.tasks import Work, build_artifact, build_shard
from stages.plan.pipeline import PROMPTS, Plan, Step, check_prompts
from stages.plan.presets import Execution
from stages.plan.stage import ShardedStage
from stages.store.artifacts import Artifact
from stages.store.store import Condition, Store
from stages.train.processes.termination import termination_passed_on

logger = logging.getLogger("comat")

GPU_TAG = "comat-gpu"
"""Tag of the tasks that may use a GPU. A concurrency limit on it makes them wait for each other, on any worker; the
place of a task that was killed is free again after a minute."""


class Outcome(BaseModel):
    """What became of one step."""

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

    def submit(self, step: Step) -> None:
        """Submit a step once its inputs are there; its shards, if any, as tasks of their own."""
        inputs = {role: self.artifact(source) for role, source in step.inputs.items()}
        work = Work.of(step, inputs, self._store)
        finding = self._store.look_up(step.stage.name, step.key, inputs, version=step.stage.version)
        self._cached[step.name] = finding.artifact is not None
        if finding.condition in (Condition.DAMAGED, Condition.OUTDATED):
            logger.warning("%s is %s (%s): building it again", step.name, finding.condition, finding.problems[0])
        if finding.artifact is None and isinstance(step.stage, ShardedStage):
            indices = list(range(step.stage.count_shards(step.config, inputs)))
            logger.info("%s: building, %d shards", step.name, len(indices))
            shard_task: Any = build_shard.with_options(tags=tags_of(step), **self._retries)
            shared = {"work": unmapped(work), "count": unmapped(len(indices))}
            self._shards[step.name] = self._runner.map(shard_task, {**shared, "index": indices})
        elif finding.artifact is None:
            logger.info("%s: building", step.name)
        whole_task = build_artifact.with_options(
            name=step.name,
            tags=tags_of(step) if finding.artifact is None else [],  # what is cached waits for no GPU
            **self._retries,
        )
        self._whole[step.name] = self._runner.submit(
            whole_task, {"work": work}, wait_for=self._shards.get(step.name, [])
        )

    def artifact(self, name: str) -> Artifact:
        """Wait for a step and return its artifact. A failure of a shard or of the step is raised here."""
        if name not in self._artifacts:
            for shard in self._shards.get(name, []):
                shard.result()
            self._whole[name].result()
            # Which artifact it is follows from the plan alone, whatever came back from wherever the task ran.
            step = self._plan.by_name[name]
            self._artifacts[name] = self._store.artifact(step.stage.name, step.key)
            if self._cached[name]:
                logger.info("%s: cached", name)
            else:
                logger.info("%s: done in %.1f s", name, self._artifacts[name].manifest.seconds)
        return self._artifacts[name]

    def outcomes(self) -> dict[str, Outcome]:
        """Wait for everything submitted; step name -> outcome, in the plan's order."""
        outcomes = {}
        for step in self._plan.steps:
            if step.name in self._whole:
                artifact, cached = self.artifact(step.name), self._cached[step.name]
                seconds = 0.0 if cached else artifact.manifest.seconds
                outcomes[step.name] = Outcome(
                    key=artifact.key, path=path_of(artifact), cached=cached, seconds=seconds, artifact=artifact
                )
        return outcomes


def tags_of(step: Step) -> list[str]:
    """The tags of a step's tasks."""
    return [GPU_TAG] if step.stage.loads_models and getattr(step.config, "device", "cpu") != "cpu" else []


def _check_threads(plan: Plan, execution: Execution) -> None:
    """Refuse what would change results: loading in half precision changes the default type of the whole process."""
    if execution.runner != "threads" or execution.workers == 1:
        return
    for step in plan.steps:
        if getattr(step.config, "precision", "fp32") != "fp32":
            raise UserError(
                f"{step.name} loads models in half precision, which other threads of the run would notice",
                "execution.workers",
                "write execution.workers=1, or execution.runner=dask for workers that are processes",
            )


@contextmanager
def started(plan: Plan, store: Store, execution: Execution) -> Iterator[PlanRun]:
    """Start the task runner for a run of the plan.

    Raises:
        UserError: several threads, and a step in half precision; or the runner is not installed.
    """
    _check_threads(plan, execution)
    if execution.runner == "threads" and execution.workers > 1:
        import_model_libraries()
    with make_task_runner(execution) as runner:
        yield PlanRun(plan, store, execution, runner)


def carry_out(plan: Plan, wanted: set[str], store: Store, execution: Execution) -> dict[str, Outcome]:
    """Build the wanted steps of a plan, reusing what the store has.

    Raises:
        UserError: a step can do nothing with the prompts; or a user's mistake in one of them.
        TrainingStopped: after SIGTERM, once the state of the training under way is saved.
    """
    with termination_passed_on(), started(plan, store, execution) as run:
        for step in plan.steps:
            if step.name in wanted:
                run.submit(step)
            if step.name in wanted and step.name == PROMPTS:
                check_prompts(plan, wanted, run.artifact(step.name), store)
        return run.outcomes()


def path_of(artifact: Artifact) -> str:
    """Where an artifact lies: a path on this machine's disk, or a URL."""
    local: Path | None = artifact.folder.local
    return str(local) if local is not None else artifact.url
