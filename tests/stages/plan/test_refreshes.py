"""Computing finished work again, also when it is interrupted, and beside other runs."""

import logging
import re
import threading
from pathlib import Path

import pytest

from stages.plan import dag, refreshes
from stages.plan.pipeline import Plan, make_plan
from stages.plan.presets import load_preset
from stages.plan.refreshes import begin_refresh, end_refresh
from stages.plan.runs import no_run_begins, recorded_run
from stages.store import locks
from stages.store import store as stores
from stages.store.lease_holders import Holder
from stages.store.store import Store
from tests.fakes.dag import NODES, PRESET
from tests.stages.plan.test_pipeline import build_all

REFRESHED = {"offset", "squares.shifted", "report"}


@pytest.fixture(autouse=True)
def _fake_dag(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dag, "NODES", NODES)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Look for leases more often."""
    for module in (locks, stores, refreshes):
        monkeypatch.setattr(module, "POLL_SECONDS", 0.01)
    return monkeypatch


@pytest.fixture
def plan(store: Store) -> Plan:
    made = make_plan(load_preset(PRESET).sections)
    build_all(made, store)
    return made


def there(plan: Plan, store: Store) -> set[str]:
    """Names of the nodes whose artifacts the store has."""
    return {node.name for node in plan.nodes if store.look_up(node.stage.name, node.key).artifact is not None}


def test_a_refresh_removes_what_was_asked_for_and_nothing_else(plan: Plan, store: Store) -> None:
    begin_refresh(plan, REFRESHED, store)
    assert there(plan, store) == {node.name for node in plan.nodes} - REFRESHED


def test_a_refresh_that_was_interrupted_goes_on_where_it_was(plan: Plan, store: Store) -> None:
    begin_refresh(plan, REFRESHED, store)
    node = plan.by_name["offset"]
    folder = store.folder(node.stage.name, node.key)
    checkpoint = folder.working_folder() / "step-30"  # as a training that was stopped leaves it
    checkpoint.write_text("thirty steps")
    begin_refresh(plan, REFRESHED, store)
    assert checkpoint.read_text() == "thirty steps"


def test_a_refresh_goes_on_past_what_it_has_built_again(plan: Plan, store: Store) -> None:
    begin_refresh(plan, REFRESHED, store)
    node = plan.by_name["offset"]
    inputs = {"numbers": store.artifact("numbers", plan.by_name["numbers"].key)}
    built = node.stage.run(node.config, inputs, store).manifest.finished_at
    begin_refresh(plan, REFRESHED, store)
    assert "offset" in there(plan, store)
    assert store.artifact("offset", node.key).manifest.finished_at == built


def test_a_refresh_that_came_to_its_end_begins_anew_the_next_time(plan: Plan, store: Store) -> None:
    end_refresh(store, begin_refresh(plan, REFRESHED, store))
    build_all(plan, store)
    begin_refresh(plan, REFRESHED, store)
    assert not there(plan, store) & REFRESHED


def test_what_another_run_completed_meanwhile_is_refreshed_anew(plan: Plan, store: Store) -> None:
    begin_refresh(plan, REFRESHED, store)
    build_all(plan, store)  # a run without --refresh
    begin_refresh(plan, REFRESHED, store)
    assert not there(plan, store) & REFRESHED


class Refresh:
    """A refresh under way in a thread of its own."""

    def __init__(self, plan: Plan, store: Store) -> None:
        self._thread = threading.Thread(target=begin_refresh, args=(plan, REFRESHED, store), daemon=True)
        self._thread.start()

    def is_waiting(self) -> bool:
        """Whether it still waits after a while in which it could have looked many times."""
        self._thread.join(timeout=0.5)
        return self._thread.is_alive()

    def has_ended(self) -> bool:
        self._thread.join(timeout=20)
        return not self._thread.is_alive()


@pytest.fixture
def checkpoint(plan: Plan, store: Store) -> Path:
    """What a training that was stopped, or is under way, leaves in its folder."""
    node = plan.by_name["offset"]
    path = store.folder(node.stage.name, node.key).working_folder() / "step-10"
    path.write_text("ten steps")
    return path


@pytest.mark.usefixtures("quick")
def test_what_is_being_built_is_not_touched(plan: Plan, store: Store, checkpoint: Path) -> None:
    node = plan.by_name["offset"]
    with store.lease(node.stage.name, node.key, "whole"):
        refresh = Refresh(plan, store)
        assert refresh.is_waiting()
        assert checkpoint.exists()
        assert "offset" in there(plan, store)
    assert refresh.has_ended()
    assert not checkpoint.exists()


@pytest.mark.usefixtures("quick")
def test_what_a_live_run_uses_is_not_touched_until_that_has_ended(plan: Plan, store: Store, checkpoint: Path) -> None:
    with recorded_run(store, "fake", plan, {"numbers", "offset"}):
        refresh = Refresh(plan, store)
        assert refresh.is_waiting()
        assert checkpoint.exists()
        assert {"numbers", "offset"} <= there(plan, store)
    assert refresh.has_ended()
    assert not there(plan, store) & REFRESHED


@pytest.mark.usefixtures("quick")
def test_who_is_waited_for_is_told(plan: Plan, store: Store, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "comat")
    with recorded_run(store, "another preset", plan, {"offset"}):
        refresh = Refresh(plan, store)
        assert refresh.is_waiting()
    assert refresh.has_ended()
    (line,) = caplog.messages
    assert re.fullmatch(r"refresh: a run of another preset that began at .* uses offset; waiting for its end", line)


@pytest.mark.usefixtures("quick")
def test_a_live_run_that_does_not_come_to_it_is_not_waited_for(plan: Plan, store: Store) -> None:
    with recorded_run(store, "fake", plan, {"numbers"}):
        begin_refresh(plan, REFRESHED, store)
    assert not there(plan, store) & REFRESHED


@pytest.mark.usefixtures("quick")
def test_the_same_refresh_at_the_same_time_shares_the_first_ones_work(
    plan: Plan, store: Store, checkpoint: Path
) -> None:
    begin_refresh(plan, REFRESHED, store)
    with recorded_run(store, "fake", plan, set(plan.by_name)):
        checkpoint.parent.mkdir(parents=True)
        checkpoint.write_text("ten steps of the first")
        begin_refresh(plan, REFRESHED, store)
    assert checkpoint.read_text() == "ten steps of the first"


@pytest.mark.usefixtures("quick")
def test_a_run_that_was_killed_is_not_waited_for(plan: Plan, store: Store) -> None:
    run = recorded_run(store, "fake", plan, set(plan.by_name))
    run.__enter__()
    (name,) = [name for name in (store.root / ".leases").sizes() if name.startswith("run-")]
    holder = Holder.of_this_process().model_copy(update={"started": "1"})
    (store.root / ".leases").write(name, holder.as_json())
    begin_refresh(plan, REFRESHED, store)
    assert not there(plan, store) & REFRESHED
    assert not (store.root / ".leases").sizes(), "the lease of the run that was killed is gone as well"


@pytest.mark.usefixtures("quick")
def test_no_run_begins_while_something_is_removed(plan: Plan, store: Store) -> None:
    order: list[str] = []

    def begin() -> None:
        with recorded_run(store, "fake", plan, set(plan.by_name)):
            order.append("run")

    with no_run_begins(store):
        run = threading.Thread(target=begin)
        run.start()
        run.join(timeout=0.3)
        order.append("removed")
    run.join(timeout=20)
    assert order == ["removed", "run"]


@pytest.mark.usefixtures("quick")
def test_work_begins_only_after_a_removal(plan: Plan, store: Store) -> None:
    node = plan.by_name["offset"]
    order: list[str] = []

    def work() -> None:
        with store.lease(node.stage.name, node.key, "whole"):
            order.append("work")

    with stores.lease(store.root / ".leases", f"{node.stage.name}-{node.key}-discard.json"):
        worker = threading.Thread(target=work)
        worker.start()
        worker.join(timeout=0.3)
        order.append("removed")
    worker.join(timeout=20)
    assert order == ["removed", "work"]
