"""The two Prefect tasks that build artifacts, and the cache policy that gives them their content keys.

Prefect keeps a small JSON record per artifact under <store>/.results; the artifact's files are the store's own. A
record whose artifact is gone, damaged or outdated is refreshed: the flow looks before it submits the task.
"""

from pathlib import Path
from typing import Any

from prefect import task
from prefect.cache_policies import CachePolicy
from prefect.context import TaskRunContext
from prefect.filesystems import RemoteFileSystem
from pydantic import BaseModel

from comat_core.errors import UserError
from flows.progress import progress_shown, show_progress
from flows.retrying import is_worth_retrying
from stages.artifacts import Artifact
from stages.config import StageConfig
from stages.digests import digest_bytes
from stages.pipeline import Step
from stages.registry import load_stage
from stages.stage import ShardedStage, Stage
from stages.store import Store

RESULTS = ".results"


class Work(BaseModel):
    """Everything a task needs to build an artifact, on any machine."""

    node: str
    module: str
    config: dict[str, Any]
    inputs: dict[str, Artifact]
    store: str
    key: str

    @classmethod
    def of(cls, step: Step, inputs: dict[str, Artifact], store: Store) -> "Work":
        config = step.config.model_dump(mode="json")
        return cls(node=step.name, module=step.node.module, config=config, inputs=inputs, store=store.url, key=step.key)

    def load(self) -> tuple[Stage | ShardedStage, StageConfig]:
        """Import the stage and restore its config."""
        stage = load_stage(self.module)
        return stage, stage.config_type.model_validate(self.config)


class ContentKey(CachePolicy):
    """The cache key of a task is the key of the artifact that it builds."""

    def compute_key(
        self,
        task_ctx: TaskRunContext,  # noqa: ARG002  (the engine's signature)
        inputs: dict[str, Any],
        flow_parameters: dict[str, Any],  # noqa: ARG002
        **kwargs: Any,  # noqa: ARG002
    ) -> str:
        work: Work = inputs["work"]
        return f"{work.node}-{work.key}"


@task(name="shard", task_run_name="{work.node}-{index}", retry_condition_fn=is_worth_retrying)
def build_shard(work: Work, index: int, count: int) -> None:
    """Build one of an artifact's `count` shards, and show in the UI how many are there."""
    stage, config = work.load()
    assert isinstance(stage, ShardedStage)
    store = Store(work.store)
    stage.run_shard(config, work.inputs, store, index)
    done = min(store.count_parts(stage.name, work.key), count)
    show_progress(work.node, done / count, f"{work.node}: {done} of {count} shards")


@task(
    name="stage",
    task_run_name="{work.node}",
    cache_policy=ContentKey(),
    persist_result=True,
    result_serializer="json",
    retry_condition_fn=is_worth_retrying,
)
def build_artifact(work: Work) -> Artifact:
    """Build an artifact, or complete it from its shards, and return the reference to it."""
    stage, config = work.load()
    store = Store(work.store)
    if isinstance(stage, ShardedStage):
        return stage.finish(config, work.inputs, store)
    progress = stage.progress
    if progress is None:
        return stage.run(config, work.inputs, store)
    folder = store.folder(stage.name, work.key)
    with progress_shown(work.node, lambda: progress(config, folder.working_folder())):
        return stage.run(config, work.inputs, store)


def result_storage(store: Store) -> Path | RemoteFileSystem:
    """Where Prefect keeps its records: beside the artifacts, on the same file system.

    Raises:
        UserError: it cannot, in the memory of a process for example.
    """
    folder = store.root / RESULTS
    if folder.local is not None:
        return folder.local
    try:
        block = RemoteFileSystem(basepath=folder.url)
    except ValueError as error:
        advice = "choose a folder or an object store with --store"
        raise UserError("Prefect cannot keep its records in this store", store.url, advice) from error
    block.save(f"comat-results-{digest_bytes(folder.url.encode())[:12]}", overwrite=True)
    return block
