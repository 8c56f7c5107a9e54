"""Kills at random moments: what is left is never used by mistake, and little is lost."""

import multiprocessing
import os
import random
import signal
import time
from collections import Counter
from pathlib import Path

import pytest

from stages.plan import dag
from stages.plan.pipeline import Plan, look_up, make_plan
from stages.plan.presets import load_preset
from stages.store.store import Condition, Store
from tests.fakes.dag import NODES, PRESET
from tests.fakes.tally import tallied
from tests.stages.plan.test_pipeline import build_all

KILLS = 20
SHARD_SECONDS = 0.1


@pytest.fixture
def plan(monkeypatch: pytest.MonkeyPatch) -> Plan:
    monkeypatch.setattr(dag, "NODES", NODES)
    return make_plan(load_preset(PRESET, ["numbers.count=12", f"squares.delay={SHARD_SECONDS}"]).sections)


def digests(plan: Plan, store: Store) -> dict[str, str]:
    findings = look_up(plan, store)
    assert {finding.condition for finding in findings.values()} == {Condition.CACHED}
    return {name: finding.artifact.manifest.digest for name, finding in findings.items() if finding.artifact}


@pytest.mark.skipif(not hasattr(os, "fork"), reason="kills forked processes")
def test_killed_runs_end_with_the_digests_of_an_undisturbed_one(plan: Plan, tmp_path: Path) -> None:
    undisturbed, disturbed = Store(str(tmp_path / "undisturbed")), Store(str(tmp_path / "disturbed"))
    build_all(plan, undisturbed)
    Path(os.environ["COMAT_TEST_TALLY"]).unlink()
    moments = random.Random(5)
    kills = 0
    while kills < KILLS:
        run = multiprocessing.get_context("fork").Process(target=build_all, args=(plan, disturbed))
        run.start()
        assert run.pid is not None
        time.sleep(moments.uniform(0.02, 4 * SHARD_SECONDS))
        if run.is_alive():
            os.kill(run.pid, signal.SIGKILL)
            kills += 1
        run.join()
        if run.exitcode == 0:  # finished before its turn: the next run starts with a lost artifact
            disturbed.discard("squares", plan.by_name["squares.plain"].key)
    build_all(plan, disturbed)
    assert digests(plan, disturbed) == digests(plan, undisturbed)
    # Every repetition of a shard is paid for by one kill (or one of the discarded artifacts above).
    repetitions = sum(count for name, count in Counter(tallied()).items()) - len(set(tallied()))
    assert repetitions <= 2 * KILLS


def test_leases_of_killed_runs_do_not_block_the_next(plan: Plan, tmp_path: Path) -> None:
    store = Store(str(tmp_path / "store"))
    run = multiprocessing.get_context("fork").Process(target=build_all, args=(plan, store))
    run.start()
    assert run.pid is not None
    while "squares-2" not in tallied():
        time.sleep(0.005)
    os.kill(run.pid, signal.SIGKILL)
    run.join()
    assert list((tmp_path / "store" / ".leases").glob("*.json"))
    build_all(plan, store)
    assert Counter(tallied())["squares-1"] == 2  # once for each of the two nodes: what was done is kept
    assert not list((tmp_path / "store" / ".leases").glob("*.json"))
