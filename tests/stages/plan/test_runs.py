"""Records of runs, and the garbage they do not refer to."""

from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from comat_core.support.errors import UserError
from stages.plan import dag
from stages.plan.pipeline import Plan, make_plan
from stages.plan.presets import load_preset
from stages.plan.runs import collect_garbage, find_garbage, recorded_run
from stages.store.store import Store
from tests.fakes.dag import NODES, PRESET
from tests.stages.plan.test_pipeline import build_all


@pytest.fixture(autouse=True)
def _fake_dag(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dag, "NODES", NODES)


def run(store: Store, *overrides: str) -> Plan:
    plan = make_plan(load_preset(PRESET, overrides).sections)
    store.mark()
    with recorded_run(store, "fake", plan, set(plan.by_name)):
        build_all(plan, store)
    return plan


def fail(store: Store, preset: str, plan: Plan) -> None:
    """Leave the record of a run that ended in an error."""
    with suppress(RuntimeError), recorded_run(store, preset, plan, set(plan.by_name)):
        raise RuntimeError


def entries(store: Store) -> set[tuple[str, str]]:
    return set(store.entries(dag.stage_names()))


def test_only_what_no_kept_run_refers_to_goes(store: Store) -> None:
    old, new = run(store, "offset.offset=6"), run(store)
    assert find_garbage(store, keep=2) == []
    garbage = find_garbage(store, keep=1)
    assert {item.key for item in garbage} == {node.key for node in old.nodes} - {node.key for node in new.nodes}
    assert all(item.size > 0 for item in garbage)
    assert len(entries(store)) == 8  # finding removes nothing

    assert collect_garbage(store, keep=1) == garbage
    assert entries(store) == {(node.stage.name, node.key) for node in new.nodes}
    assert find_garbage(store, keep=9) == []


def test_runs_that_fail_or_still_run_push_no_finished_one_out(store: Store) -> None:
    finished = run(store)
    begun = make_plan(load_preset(PRESET, ["offset.offset=6"]).sections)
    build_all(begun, store)
    for _ in range(3):
        fail(store, "fake", begun)
    assert find_garbage(store, keep=1) == []
    fail(store, "fake", Plan(finished.nodes[:1]))
    assert {item.key for item in find_garbage(store, keep=1)} == {node.key for node in begun.nodes} - {
        node.key for node in finished.nodes
    }
    assert find_garbage(store, keep=2) == []


def test_runs_are_kept_per_preset(store: Store) -> None:
    plan = run(store)
    for _ in range(3):
        fail(store, "other", Plan(plan.nodes[:1]))
    assert find_garbage(store, keep=1) == []


def test_what_no_run_wrote_stays(store: Store) -> None:
    old, _ = run(store, "offset.offset=6"), run(store)
    root = store.root.local
    assert root is not None
    offset = next(node for node in old.nodes if node.name == "offset")
    strangers = [
        root / "photos" / "holiday" / "beach.jpg",
        root / "src" / "pkg" / "module.py",
        root / "numbers" / "notes" / "mine.txt",  # a stage's name, and no key
        root / "offset" / offset.key / "mine.txt",  # inside an artifact that goes
    ]
    for path in strangers:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("mine")
    garbage = collect_garbage(store, keep=1)
    assert ("offset", offset.key) in {(item.stage, item.key) for item in garbage}
    assert all(path.read_text() == "mine" for path in strangers)
    assert sorted(path.name for path in (root / "offset" / offset.key).iterdir()) == ["mine.txt"]


def test_a_folder_that_no_run_has_marked_loses_nothing(tmp_path: Path) -> None:
    (tmp_path / "photos" / "holiday").mkdir(parents=True)
    with pytest.raises(UserError, match="no run has made this folder its store"):
        collect_garbage(Store(str(tmp_path)), keep=1)


def test_without_records_of_runs_nothing_goes(store: Store) -> None:
    run(store)
    records = store.root / ".runs"
    for name in records.sizes():
        records.remove(name)
    with pytest.raises(UserError, match="holds no records of runs"):
        collect_garbage(store, keep=1)


def test_a_record_that_cannot_be_read_stops_the_removal(store: Store) -> None:
    run(store)
    (store.root / ".runs").write("000000000000001-aaaa.json", b"[[[")
    with pytest.raises(UserError, match=r"record of a run cannot be read.*000000000000001-aaaa"):
        collect_garbage(store, keep=1)


def test_nothing_of_a_live_run_goes_however_many_there_are(store: Store) -> None:
    run(store)
    with ExitStack() as stack:
        for offset in (6, 7, 8):
            plan = make_plan(load_preset(PRESET, [f"offset.offset={offset}"]).sections)
            stack.enter_context(recorded_run(store, "fake", plan, set(plan.by_name)))
            build_all(plan, store)
        before = entries(store)
        assert collect_garbage(store, keep=1) == []
        assert entries(store) == before


def test_an_artifact_that_somebody_works_on_stays(store: Store) -> None:
    old, _ = run(store, "offset.offset=6"), run(store)
    offset = next(node for node in old.nodes if node.name == "offset")
    with store.lease("offset", offset.key, "whole"):
        removed = {item.key for item in collect_garbage(store, keep=1)}
    assert removed
    assert offset.key not in removed
