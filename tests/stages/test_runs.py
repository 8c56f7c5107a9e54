"""Records of runs, and the garbage they do not refer to."""

import pytest

from stages import registry
from stages.pipeline import Plan, make_plan
from stages.presets import load_preset
from stages.runs import collect_garbage, find_garbage, record_end, record_run
from stages.store import Store
from tests.fakes.dag import NODES, PRESET
from tests.stages.test_pipeline import build_all


@pytest.fixture(autouse=True)
def _fake_dag(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "NODES", NODES)


def run(store: Store, *overrides: str) -> Plan:
    plan = make_plan(load_preset(PRESET, overrides).sections)
    record = record_run(store, "fake", plan)
    build_all(plan, store)
    record_end(store, record)
    return plan


def test_only_what_no_kept_run_refers_to_goes(store: Store) -> None:
    old, new = run(store, "offset.offset=6"), run(store)
    assert find_garbage(store, keep=2) == []
    garbage = find_garbage(store, keep=1)
    assert {item.key for item in garbage} == {step.key for step in old.steps} - {step.key for step in new.steps}
    assert all(item.size > 0 for item in garbage)
    assert len(list(store.entries())) == 8  # finding removes nothing

    assert collect_garbage(store, keep=1) == garbage
    assert set(store.entries()) == {(step.stage.name, step.key) for step in new.steps}
    assert find_garbage(store, keep=9) == []


def test_runs_that_fail_or_still_run_push_no_finished_one_out(store: Store) -> None:
    finished = run(store)
    begun = make_plan(load_preset(PRESET, ["offset.offset=6"]).sections)
    build_all(begun, store)
    for _ in range(3):
        record_run(store, "fake", begun)
    assert find_garbage(store, keep=1) == []
    record_run(store, "fake", Plan(finished.steps[:1]))
    assert {item.key for item in find_garbage(store, keep=1)} == {step.key for step in begun.steps} - {
        step.key for step in finished.steps
    }
    assert find_garbage(store, keep=2) == []


def test_runs_are_kept_per_preset(store: Store) -> None:
    plan = run(store)
    for _ in range(3):
        record_run(store, "other", Plan(plan.steps[:1]))
    assert find_garbage(store, keep=1) == []
