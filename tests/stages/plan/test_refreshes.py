"""Computing finished work again, also when it is interrupted, and beside other runs."""

import threading

import pytest

from stages.plan import dag
from stages.plan.pipeline import Plan, make_plan
from stages.plan.presets import load_preset
from stages.plan.refreshes import begin_refresh, end_refresh
from stages.store import store as stores
from stages.store.store import Store
from tests.fakes.dag import NODES, PRESET
from tests.stages.plan.test_pipeline import build_all

REFRESHED = {"offset", "squares.shifted", "report"}


@pytest.fixture(autouse=True)
def _fake_dag(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dag, "NODES", NODES)


@pytest.fixture
def plan(store: Store) -> Plan:
    made = make_plan(load_preset(PRESET).sections)
    build_all(made, store)
    return made


def there(plan: Plan, store: Store) -> set[str]:
    """Names of the steps whose artifacts the store has."""
    return {step.name for step in plan.steps if store.look_up(step.stage.name, step.key).artifact is not None}


def test_a_refresh_removes_what_was_asked_for_and_nothing_else(plan: Plan, store: Store) -> None:
    begin_refresh(plan, REFRESHED, store)
    assert there(plan, store) == {step.name for step in plan.steps} - REFRESHED


def test_a_refresh_that_was_interrupted_goes_on_where_it_was(plan: Plan, store: Store) -> None:
    begin_refresh(plan, REFRESHED, store)
    step = plan.by_name["offset"]
    folder = store.folder(step.stage.name, step.key)
    checkpoint = folder.working_folder() / "step-30"  # as a training that was stopped leaves it
    checkpoint.write_text("thirty steps")
    begin_refresh(plan, REFRESHED, store)
    assert checkpoint.read_text() == "thirty steps"


def test_a_refresh_goes_on_past_what_it_has_built_again(plan: Plan, store: Store) -> None:
    begin_refresh(plan, REFRESHED, store)
    step = plan.by_name["offset"]
    inputs = {"numbers": store.artifact("numbers", plan.by_name["numbers"].key)}
    built = step.stage.run(step.config, inputs, store).manifest.finished_at
    begin_refresh(plan, REFRESHED, store)
    assert "offset" in there(plan, store)
    assert store.artifact("offset", step.key).manifest.finished_at == built


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


def test_the_folder_of_a_live_run_is_waited_for(plan: Plan, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stores, "POLL_SECONDS", 0.01)
    step = plan.by_name["offset"]
    checkpoint = store.folder(step.stage.name, step.key).working_folder() / "step-10"
    checkpoint.write_text("ten steps")
    refresh = threading.Thread(target=begin_refresh, args=(plan, REFRESHED, store))
    with store.lease(step.stage.name, step.key, "whole"):
        refresh.start()
        refresh.join(timeout=0.5)
        assert refresh.is_alive()
        assert checkpoint.exists()
        assert "offset" in there(plan, store)
    refresh.join(timeout=20)
    assert not refresh.is_alive()
    assert not checkpoint.exists()


def test_work_begins_only_after_a_removal(plan: Plan, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stores, "POLL_SECONDS", 0.01)
    step = plan.by_name["offset"]
    order: list[str] = []

    def work() -> None:
        with store.lease(step.stage.name, step.key, "whole"):
            order.append("work")

    with stores.lease(store.root / ".leases", f"{step.stage.name}-{step.key}-discard.json"):
        worker = threading.Thread(target=work)
        worker.start()
        worker.join(timeout=0.3)
        order.append("removed")
    worker.join(timeout=20)
    assert order == ["removed", "work"]
