"""The two Prefect tasks that build artifacts.

The store is the cache. A task looks there first; one whose artifact is whole ends in the state Cached. Prefect keeps
no results: nothing that lies in a store says how it is to be read, or which artifact stands for which node.
"""

from typing import Any

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.states import Completed
from pydantic import BaseModel

from flows.progress import progress_shown, show_progress
from flows.retrying import is_worth_retrying
from flows.worker_processes import task_of_a_worker
from stages.plan.config import StageConfig
from stages.plan.dag import load_stage
from stages.plan.pipeline import PlannedNode
from stages.plan.stage import ShardedStage, Stage
from stages.store.artifacts import Artifact
from stages.store.store import Store


class Work(BaseModel):
    """Everything a task needs to build an artifact, on any machine."""

    node: str
    module: str  # that has the stage which builds it
    stage: str  # the stage's name in the module
    config: dict[str, Any]
    inputs: dict[str, Artifact]
    store: str
    key: str

    @classmethod
    def of(cls, node: PlannedNode, inputs: dict[str, Artifact], store: Store) -> "Work":
        config = node.config.model_dump(mode="json")
        return cls(
            node=node.name,
            module=node.declared.module,
            stage=node.declared.stage,
            config=config,
            inputs=inputs,
            store=store.url,
            key=node.key,
        )

    def load(self) -> tuple[Stage | ShardedStage, StageConfig]:
        """Import the node's stage and restore its config."""
        stage = load_stage(self.module, self.stage)
        return stage, stage.config_type.model_validate(self.config)


@task(
    name="shard",
    task_run_name="{work.node}-{index}",
    cache_policy=NO_CACHE,
    persist_result=False,
    retry_condition_fn=is_worth_retrying,
)
def build_shard(work: Work, index: int, count: int) -> None:
    """Build one of an artifact's `count` shards, and show in the UI how many are there."""
    with task_of_a_worker():
        stage, config = work.load()
        assert isinstance(stage, ShardedStage)
        stage.check_unchanged(config, work.inputs, work.key)
        store = Store(work.store)
        stage.run_shard(config, work.inputs, store, index)
        done = min(store.count_parts(stage.name, work.key), count)
        show_progress(work.node, done / count, f"{work.node}: {done} of {count} shards")


@task(
    name="stage",
    task_run_name="{work.node}",
    cache_policy=NO_CACHE,
    persist_result=False,
    retry_condition_fn=is_worth_retrying,
)
def build_artifact(work: Work) -> Artifact | State[Artifact]:
    """Build an artifact, or complete it from its shards, and return the reference to it."""
    with task_of_a_worker():
        stage, config = work.load()
        store = Store(work.store)
        cached = store.usable(stage.name, work.key, work.inputs, stage.version)
        if cached is not None:
            return Completed(name="Cached", message="the store has this artifact", data=cached)
        stage.check_unchanged(config, work.inputs, work.key)
        if isinstance(stage, ShardedStage):
            return stage.finish(config, work.inputs, store)
        progress = stage.progress
        if progress is None:
            return stage.run(config, work.inputs, store)
        folder = store.folder(stage.name, work.key)
        with progress_shown(work.node, lambda: progress(config, folder.working_folder())):
            return stage.run(config, work.inputs, store)
