"""Carrying out a plan with Prefect: submit what is wanted as soon as it can be built, reuse what is cached."""

import logging
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from queue import SimpleQueue
from typing import Any

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
from stages.store.store import Condition, Finding, Store

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


@dataclass(frozen=True)
class Piece:
    """A task of a node: one of its shards, or the node as a whole, which comes after them."""

    node: str
    shard: int | None = None


class PlanRun:
    """One run of a plan: which tasks there are, what became of them, and which come next.

    Of the tasks whose inputs are there, those of nodes that come earlier in the plan go first. So long as there is
    nothing before them, shards of a node that follows another's (`stages.plan.stage.Following`) are built while that
    one's later shards are still under way.
    """

    def __init__(self, plan: Plan, store: Store, execution: Execution, runner: TaskRunner[Any]) -> None:
        self._store = store
        self._runner = runner
        self._plan = plan
        self._places = {node.name: place for place, node in enumerate(plan.nodes)}
        self._retries = {"retries": execution.retries, "retry_delay_seconds": execution.retry_delay}
        # A pool gets no more than it can work on, so that what is next is decided when a worker is free. How many
        # workers a cluster has only its own scheduler knows.
        self._at_a_time = execution.workers if execution.runner == "processes" else None
        self._begun: dict[str, Begun] = {}
        self._waiting_for_all: set[str] = set()
        self._open: list[Piece] = []
        self._futures: dict[Piece, PrefectFuture[Any]] = {}
        self._ended: SimpleQueue[Piece] = SimpleQueue()
        self._done: set[Piece] = set()

    def build(self, nodes: Iterable[PlannedNode]) -> None:
        """Build nodes. A failure is raised here, as soon as a task has failed."""
        waiting = {node.name: node for node in nodes}
        while waiting or len(self._done) < sum(begun.tasks for begun in self._begun.values()):
            for node in [node for node in waiting.values() if self._can_begin(node)]:
                self.begin(node)
                del waiting[node.name]
            for piece in self._next():
                self._submit(piece)
            assert len(self._futures) > len(self._done), "of nodes with their inputs there is always one to be built"
            self._take(self._ended.get())

    def begin(self, node: PlannedNode) -> None:
        """Decide which tasks a node needs."""
        inputs = {role: self._artifact(source) for role, source in node.sources.items()}
        followed = None if self._is_done(*node.sources.values()) else self._followed(node)
        finding = (
            self._store.look_up(node.stage.name, node.key, inputs, version=node.stage.version)
            if followed is None
            else Finding(condition=Condition.MISSING)
        )
        if finding.condition in (Condition.DAMAGED, Condition.OUTDATED):
            logger.warning("%s is %s (%s): building it again", node.name, finding.condition, finding.problems[0])
        shards = 0
        if finding.artifact is None and isinstance(node.stage, ShardedStage):
            shards = self._begun[followed].shards if followed else node.stage.count_shards(node.config, inputs)
            logger.info("%s: building, %d shards", node.name, shards)
        elif finding.artifact is None:
            logger.info("%s: building", node.name)
        cached = finding.artifact is not None
        self._begun[node.name] = Begun(Work.of(node, inputs, self._store), shards, cached, followed)
        self._open += [*(Piece(node.name, shard) for shard in range(shards)), Piece(node.name)]
        self._open.sort(key=lambda piece: self._places[piece.node])

    def outcomes(self) -> dict[str, Outcome]:
        """Node name -> outcome of everything that was built, in the plan's order."""
        outcomes = {}
        for node in self._plan.nodes:
            if node.name in self._begun:
                artifact, cached = self._artifact(node), self._begun[node.name].cached
                seconds = 0.0 if cached else artifact.manifest.seconds
                outcomes[node.name] = Outcome(
                    key=artifact.key, path=path_of(artifact), cached=cached, seconds=seconds, artifact=artifact
                )
        return outcomes

    def artifact(self, name: str) -> Artifact:
        """The artifact of a node that was built."""
        assert Piece(name) in self._done
        return self._artifact(self._plan.by_name[name])

    def _artifact(self, node: PlannedNode) -> Artifact:
        # Which artifact it is follows from the plan alone, whatever came back from wherever a task ran.
        return self._store.artifact(node.stage.name, node.key)

    def _is_done(self, *nodes: PlannedNode) -> bool:
        return all(Piece(node.name) in self._done for node in nodes)

    def _can_begin(self, node: PlannedNode) -> bool:
        """Whether all that a node is made from is there, or will be shard by shard."""
        if self._is_done(*node.sources.values()):
            return True
        if node.name in self._waiting_for_all or self._at_a_time == 1:
            return False
        followed = self._followed(node)
        others = [source for source in node.sources.values() if source.name != followed]
        if followed not in self._begun or not self._begun[followed].shards or not self._is_done(*others):
            return False
        if self._store.look_up(node.stage.name, node.key).condition is not Condition.MISSING:
            self._waiting_for_all.add(node.name)  # whether what is there can be used is known when its input is whole
            return False
        return True

    def _followed(self, node: PlannedNode) -> str | None:
        """Name of the node whose shards those of another are made from, one from one."""
        follows = node.stage.follows if isinstance(node.stage, ShardedStage) else None
        return node.sources[follows.role].name if follows else None

    def _next(self) -> list[Piece]:
        """The tasks to be submitted now."""
        under_way = len(self._futures) - len(self._done)
        free = None if self._at_a_time is None else self._at_a_time - under_way
        return [*islice((piece for piece in self._open if self._is_ready(piece)), free)]

    def _is_ready(self, piece: Piece) -> bool:
        begun = self._begun[piece.node]
        if piece.shard is not None:
            return begun.followed is None or Piece(begun.followed, piece.shard) in self._done
        shards = (Piece(piece.node, shard) for shard in range(begun.shards))
        followed = () if begun.followed is None else (Piece(begun.followed),)
        return self._done.issuperset([*shards, *followed])

    def _submit(self, piece: Piece) -> None:
        begun, node = self._begun[piece.node], self._plan.by_name[piece.node]
        self._open.remove(piece)
        if piece.shard is None:
            tags = [] if begun.cached else tags_of(node)  # what is cached waits for no GPU
            task: Any = build_artifact.with_options(name=node.name, tags=tags, **self._retries)
            parameters: dict[str, Any] = {"work": begun.work}
            after = [Piece(node.name, shard) for shard in range(begun.shards)]
        else:
            task = build_shard.with_options(tags=tags_of(node), **self._retries)
            parameters = {"work": begun.work, "index": piece.shard, "count": begun.shards}
            after = [Piece(begun.followed, piece.shard)] if begun.followed else []
        future = self._runner.submit(task, parameters, wait_for=[self._futures[one] for one in after])
        self._futures[piece] = future
        future.add_done_callback(lambda _: self._ended.put(piece))

    def _take(self, piece: Piece) -> None:
        """Note the end of a task, which raises its failure."""
        self._futures[piece].result()
        self._done.add(piece)
        if piece.shard is None and self._begun[piece.node].cached:
            logger.info("%s: cached", piece.node)
        elif piece.shard is None:
            logger.info("%s: done in %.1f s", piece.node, self.artifact(piece.node).manifest.seconds)


@dataclass(frozen=True)
class Begun:
    """What is known of a node once its tasks are.

    Attributes:
        shards: how many tasks there are besides that of the whole node.
        followed: the node whose shards its own wait for, one for one, and whose end its own; None where all that it
            is made from was there.
    """

    work: Work
    shards: int
    cached: bool
    followed: str | None

    @property
    def tasks(self) -> int:
        return self.shards + 1


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
    nodes = [node for node in plan.nodes if node.name in wanted]
    with started(plan, store, execution) as run:
        if PROMPTS in wanted:
            run.build(node for node in nodes if node.name == PROMPTS)
            check_prompts(plan, wanted, run.artifact(PROMPTS), store)
        run.build(node for node in nodes if node.name != PROMPTS)
        return run.outcomes()


def path_of(artifact: Artifact) -> str:
    """Where an artifact lies: a path on this machine's disk, or a URL."""
    local: Path | None = artifact.folder.local
    return str(local) if local is not None else artifact.url
