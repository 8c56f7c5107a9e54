"""Which task comes next: shards that follow another's do not wait for all of these, and the plan's order holds."""

import json
from collections.abc import Iterable
from concurrent.futures import Future
from pathlib import Path
from threading import Timer
from typing import Any, cast
from uuid import uuid4

import pytest
from prefect.futures import PrefectConcurrentFuture, PrefectFuture
from prefect.task_runners import TaskRunner

from flows.command_line.cli import main
from flows.execution import PlanRun
from flows.tasks import Work
from stages.plan import dag
from stages.plan.dag import Node
from stages.plan.pipeline import make_plan
from stages.plan.presets import load_preset
from stages.plan.stage import ShardedStage
from stages.store.store import Store
from tests.fakes.dag import NODES, PRESET

PATIENCE_SECONDS = 20.0
IN_ORDER = [
    *("numbers", "offset", "squares.plain-0", "squares.plain-1", "squares.plain-2", "squares.plain"),
    *("squares.shifted-0", "squares.shifted-1", "squares.shifted-2", "squares.shifted"),
    *("report", "halves-0", "halves-1", "halves-2", "halves"),
]


class HeldRunner:
    """Runs each task when it is submitted, and says so only when another one is submitted, if it is told to wait.

    Args:
        held: name of a task -> that of the other one.
    """

    def __init__(self, held: dict[str, str]) -> None:
        self.submitted: list[str] = []
        self.after: dict[str, int] = {}
        self._held = held
        self._open: dict[str, tuple[Future[Any], Timer]] = {}

    def submit(
        self, _task: object, parameters: dict[str, Any], wait_for: Iterable[PrefectFuture[Any]]
    ) -> PrefectConcurrentFuture[Any]:
        work, shard = cast(Work, parameters["work"]), parameters.get("index")
        name = work.node if shard is None else f"{work.node}-{shard}"
        self.submitted.append(name)
        self.after[name] = len([*wait_for])
        done: Future[Any] = Future()
        if name in self._held:
            given_up = Timer(PATIENCE_SECONDS, done.set_exception, [TimeoutError(f"{name} was waited for")])
            self._open[self._held[name]] = (done, given_up)
            given_up.start()
        stage, config = work.load()
        if shard is None:
            stage.run(config, work.inputs, Store(work.store))
        else:
            assert isinstance(stage, ShardedStage)
            stage.run_shard(config, work.inputs, Store(work.store), shard)
        if name not in self._held:
            done.set_result(None)
        if name in self._open:
            waiting, timer = self._open.pop(name)
            timer.cancel()
            waiting.set_result(None)
        return PrefectConcurrentFuture(uuid4(), done)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(str(tmp_path / "store"))


@pytest.fixture
def preset(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The fake DAG with halves of the squares behind its report."""
    halves = Node("halves", "tests.fakes.halves", "halves", {"squares": "squares.plain"})
    monkeypatch.setattr(dag, "NODES", (*NODES, halves))
    path = tmp_path / "followed.yaml"
    path.write_text(f"extends: {PRESET}\nhalves: {{}}\n")
    return str(path)


def build(preset: str, store: Store, workers: int, held: dict[str, str] | None = None) -> HeldRunner:
    chosen = load_preset(preset, [f"execution.workers={workers}"])
    plan, runner = make_plan(chosen.sections), HeldRunner(held or {})
    run = PlanRun(plan, store, chosen.shared.execution, cast(TaskRunner[Any], runner))
    run.build(plan.nodes)
    assert list(run.outcomes()) == [node.name for node in plan.nodes]
    return runner


def test_with_one_worker_the_plan_s_order_holds(preset: str, store: Store) -> None:
    assert build(preset, store, workers=1).submitted == IN_ORDER


def test_shards_are_followed_while_later_ones_are_under_way(preset: str, store: Store, tmp_path: Path) -> None:
    runner = build(preset, store, workers=3, held={"squares.plain-2": "halves-1", "offset": "halves"})
    order = runner.submitted
    assert sorted(order) == sorted(IN_ORDER)
    assert order.index("halves-1") < order.index("squares.plain"), "which waits for the last shard"
    assert order.index("halves") > order.index("squares.plain")
    other = Store(str(tmp_path / "other"))
    build(preset, other, workers=1)
    plan = make_plan(load_preset(preset).sections)
    for node in plan.nodes:
        one, two = (place.artifact(node.stage.name, node.key).manifest for place in (store, other))
        assert (one.digest, one.inputs) == (two.digest, two.inputs)


def test_what_waits_for_nothing_goes_on_beside_what_takes_long(preset: str, store: Store) -> None:
    """As the base model's images and scores do beside training."""
    order = build(preset, store, workers=2, held={"offset": "halves"}).submitted
    assert order.index("halves") < order.index("squares.shifted-0")


def test_what_comes_first_in_the_plan_takes_the_next_free_worker(preset: str, store: Store) -> None:
    order = build(preset, store, workers=2, held={"offset": "halves-0"}).submitted
    assert order.index("halves-0") < order.index("squares.shifted-0") < order.index("halves-1")


def test_what_is_there_already_is_judged_once_its_input_is_whole(preset: str, store: Store) -> None:
    build(preset, store, workers=2)
    plan = make_plan(load_preset(preset).sections)
    halves, source = (plan.by_name[name] for name in ("halves", "squares.plain"))
    before = store.artifact("halves", halves.key).manifest
    (store.folder("squares", source.key)).remove("squares/00001.parquet")
    runner = build(preset, store, workers=2)
    assert not [name for name in runner.submitted if name.startswith("halves-")]
    assert store.artifact("halves", halves.key).manifest == before


def test_a_shard_names_the_one_that_it_waited_for(preset: str, store: Store) -> None:
    after = build(preset, store, workers=2).after
    assert (after["halves-1"], after["halves"], after["squares.plain-1"], after["numbers"]) == (1, 3, 0, 0)


@pytest.mark.slow
@pytest.mark.usefixtures("prefect_url")
def test_two_processes_make_what_one_does(preset: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    digests = []
    for workers in (1, 2):
        store = tmp_path / str(workers)
        settings = ("--set", f"execution.workers={workers}", "--set", "squares.delay=0.3")
        assert main(["run", preset, "--store", str(store), *settings, "--json"]) == 0
        outcomes = json.loads(capsys.readouterr().out.splitlines()[-1])
        made = {name: Store(str(store)).artifact(name.split(".")[0], one["key"]) for name, one in outcomes.items()}
        digests.append({name: artifact.manifest.digest for name, artifact in made.items()})
    assert digests[0] == digests[1]
