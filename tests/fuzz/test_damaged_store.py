"""A store whose records are damaged: every look at it, and a run, goes on or says one line."""

import random
import shutil
import traceback
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest

from stages.plan import dag
from stages.plan.history import HISTORY, Result, history_folder
from stages.plan.pipeline import look_up, make_plan
from stages.plan.presets import load_preset
from stages.plan.runs import RUNS, find_garbage, recorded_run
from stages.report.timeline import timeline_page
from stages.store import locks
from stages.store.artifacts import MANIFEST
from stages.store.locks import lease
from stages.store.store import LEASES, Store
from tests.fakes.dag import NODES, PRESET
from tests.fuzz.mutations import damaged_bytes, damaged_json
from tests.fuzz.watch import HangError, told
from tests.stages.fake_run import summary
from tests.stages.plan.test_pipeline import build_all

NAME = "fake"
MUTATIONS = (damaged_json, damaged_json, damaged_bytes)


@pytest.fixture(autouse=True)
def _fake_dag_and_little_patience(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(dag, "NODES", NODES)
    monkeypatch.setenv("COMAT_TEST_TALLY", str(tmp_path / "tally.txt"))
    for name, seconds in (("LEASE_SECONDS", 0.1), ("POLL_SECONDS", 0.01), ("UNREADABLE_SECONDS", 0.02)):
        monkeypatch.setattr(locks, name, seconds)


@pytest.fixture
def whole(tmp_path: Path) -> Path:
    """A store after a run, with a record of an evaluation."""
    store = Store(str(tmp_path / "whole"))
    store.mark()
    plan = make_plan(load_preset(PRESET).sections)
    with recorded_run(store, NAME, plan, {node.name for node in plan.nodes}):
        build_all(plan, store)
    result = Result(
        preset=NAME,
        evaluation="evaluate.attributes",
        key="b" * 24,
        lora="a" * 24,
        trained_at="2026-02-02T00:00:00Z",
        setting="c" * 12,
        summary=summary("attributes", {"attribute_binding": 0.25}, {"attribute_binding": 0.5}, prompts=5),
    )
    history_folder(store, NAME).write("one.json", result.model_dump_json().encode())
    return tmp_path / "whole"


def look(root: Path) -> list[str | None]:
    """What status, verify and gc have to say."""
    plan, store = make_plan(load_preset(PRESET).sections), Store(str(root))

    def verify() -> None:
        for stage, key in store.entries(dag.stage_names()):
            store.look_up(stage, key, check_digests=True)

    return [told(lambda: look_up(plan, store)), told(verify), told(lambda: find_garbage(store, keep=1))]


def run(root: Path) -> list[str | None]:
    plan, store = make_plan(load_preset(PRESET).sections), Store(str(root))
    return [*look(root), told(lambda: build_all(plan, store))]


def go_on(root: Path) -> list[str | None]:
    """What a run does that finds nothing finished, but the files of all artifacts."""
    for path in root.glob(f"*/*/{MANIFEST}"):
        path.unlink()
    return run(root)


def draw(root: Path) -> list[str | None]:
    return [told(lambda: timeline_page(Store(str(root)), NAME))]


@pytest.mark.parametrize(
    ("pattern", "use", "count"),
    [
        (f"*/*/{MANIFEST}", look, 40),
        (f"*/*/{MANIFEST}", run, 10),
        ("*/*/.checksums/**/*.json", go_on, 15),
        ("*/*/.parts/*.json", go_on, 15),
        (f"{RUNS}/*.json", look, 50),
        (f"{HISTORY}/*/*.json", draw, 120),
    ],
)
def test_damaged_records_are_told_or_made_again(
    whole: Path, tmp_path: Path, pattern: str, use: Callable[[Path], list[str | None]], count: int
) -> None:
    chance = random.Random(zlib.crc32(pattern.encode()))
    failures = []
    for number in range(count):
        root = tmp_path / str(number)
        shutil.copytree(whole, root)
        path = chance.choice(sorted(root.glob(pattern)))
        content = chance.choice(MUTATIONS)(path.read_bytes(), chance)
        path.write_bytes(content)
        try:
            use(root)
        except (Exception, HangError):
            failures.append(f"{path.name} {content[:300]!r}:\n{traceback.format_exc(limit=-5)}")
        shutil.rmtree(root)
    assert not failures, f"{len(failures)} of {count} end in something else than one line:\n" + "\n".join(failures[:5])


def test_a_whole_store_is_used_without_a_word(whole: Path) -> None:
    assert [*run(whole), *draw(whole), *go_on(whole)] == [None] * 9


def test_damaged_leases_are_taken_over(tmp_path: Path) -> None:
    chance = random.Random(20)
    store = Store(str(tmp_path / "store"))
    with lease(store.root / LEASES, "work.json"):
        written = (tmp_path / "store" / LEASES / "work.json").read_bytes()
    for _ in range(60):
        content = chance.choice(MUTATIONS)(written, chance)
        (store.root / LEASES).write("work.json", content)

        def take() -> None:
            with lease(store.root / LEASES, "work.json"):
                pass

        assert told(take) is None, content[:300]
