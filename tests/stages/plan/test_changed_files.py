"""Files that change between the computing of a key and their reading: what was read is not kept under that key."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from comat_core.support.errors import UserError
from flows.tasks import Work, build_artifact
from stages.plan.config import StageConfig
from stages.plan.digests import digest_file
from stages.plan.stage import Inputs, ShardedStage
from stages.prompts import STAGE, PromptsConfig
from stages.store.artifact_writer import ArtifactWriter
from stages.store.store import Condition, Store

CHANGED = "a file that the settings of .* name has changed since the run began"


@pytest.fixture
def prompts(tmp_path: Path) -> Path:
    path = tmp_path / "train.txt"
    path.write_text("a red cat\na blue dog\n")
    return path


def config_of(prompts: Path) -> PromptsConfig:
    return PromptsConfig.model_validate({"seed": 0, "train": [{"file": str(prompts)}]})


def test_a_stage_keeps_nothing_of_a_file_that_changed_under_it(store: Store, prompts: Path) -> None:
    config = config_of(prompts)
    key = STAGE.key_for(config, {})

    def change_and_build(config: PromptsConfig, inputs: Inputs, writer: ArtifactWriter) -> None:
        prompts.write_text("a green bird\na black horse\n")
        STAGE.build(config, inputs, writer)

    with pytest.raises(UserError, match=CHANGED):
        replace(STAGE, build=change_and_build).run(config, {}, store)
    assert store.look_up("prompts", key).condition is Condition.MISSING
    assert STAGE.run(config, {}, store).key == STAGE.key_for(config, {}) != key


class LinesConfig(StageConfig):
    file: str

    def key_payload(self) -> dict[str, Any]:
        return {"content": digest_file(Path(self.file))}


def test_a_shard_of_a_file_that_changed_under_it_does_not_count(store: Store, prompts: Path) -> None:
    before, changes = prompts.read_text(), [True]

    def build_shard(config: LinesConfig, _inputs: Inputs, writer: ArtifactWriter, index: int) -> None:
        if changes.pop():
            prompts.write_text("something else\n")
        writer.write_bytes(f"{index}.txt", Path(config.file).read_bytes())

    stage = ShardedStage(
        name="lines",
        version=1,
        config_type=LinesConfig,
        count_shards=lambda _config, _inputs: 1,
        build_shard=build_shard,
    )
    config = LinesConfig(file=str(prompts))
    with pytest.raises(UserError, match=CHANGED):
        stage.run_shard(config, {}, store, 0)
    prompts.write_text(before)
    changes.append(False)
    assert stage.run(config, {}, store).read_bytes("0.txt") == before.encode()


def test_a_task_refuses_a_file_that_changed_after_the_plan(store: Store, prompts: Path) -> None:
    config = config_of(prompts)
    key = STAGE.key_for(config, {})
    work = Work(
        node="prompts",
        module="stages.prompts",
        stage="STAGE",
        config=config.model_dump(mode="json"),
        inputs={},
        store=store.url,
        key=key,
    )
    prompts.write_text("a green bird\na black horse\n")
    with pytest.raises(UserError, match=CHANGED):
        build_artifact.fn(work)
    assert store.look_up("prompts", key).condition is Condition.MISSING
