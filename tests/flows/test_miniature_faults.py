"""The real DAG in little, killed at random moments, run twice at once, on Dask and in S3: always the same artifacts."""

import json
import multiprocessing
import os
import random
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from stages.plan.dag import stage_names
from stages.plan.pipeline import Plan, look_up, make_plan
from stages.plan.presets import load_preset
from stages.plan.stage import ShardedStage
from stages.store.artifact_writer import names_of_part
from stages.store.artifacts import PARTS
from stages.store.store import Condition, Store
from tests.flows.conftest import ROOT
from tests.scaled_down import SETTINGS

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not hasattr(os, "fork"), reason="kills forked processes"),
]

KILLS = {
    "prompts": 1,
    "pairs": 2,
    "entities": 2,
    "latents": 2,
    "images.base": 2,
    "images.base.fidelity": 1,
    "attention.base": 1,
    "train": 3,
    "images.tuned": 2,
    "images.tuned.fidelity": 1,
    "attention.tuned": 1,
    "scores.attributes.base": 1,
    "scores.attributes.tuned": 0,
    "evaluate.attributes": 1,
    "scores.spatial.base": 0,
    "scores.spatial.tuned": 1,
    "evaluate.spatial": 0,
    "evaluate.complex": 1,
    "scores.judge.base": 0,
    "scores.judge.tuned": 1,
    "evaluate.judge": 0,
    "scores.fidelity.real": 1,
    "scores.fidelity.base": 0,
    "scores.fidelity.tuned": 0,
    "distances.fidelity.real": 0,
    "distances.fidelity.base": 1,
    "distances.fidelity.tuned": 0,
    "evaluate.fidelity": 1,
    "scores.sensitivity.real": 1,
    "scores.sensitivity.base": 0,
    "scores.sensitivity.tuned": 0,
    "evaluate.sensitivity": 0,
    "report": 1,
}
TIMES_IN_REPORT = re.compile(r'<td class="bar">.*?</td><td class="number">.*?</td>')


class RealDag:
    """The scaled-down DAG, its nodes run one by one in processes of their own."""

    def __init__(self, folder: Path) -> None:
        self.settings = (*SETTINGS, f"train.tracking.folder={folder / 'tensorboard'}")
        self.arguments = [argument for setting in self.settings for argument in ("--set", setting)]
        self.plan: Plan = make_plan(load_preset("miniature", self.settings).sections)
        self._log = folder / "log.txt"
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload(["tests.flows.forked_stage"])

    def run(self, name: str, store: Store, *, kill_after: float | None = None) -> tuple[bool, float]:
        """Run a node, and kill it some seconds after it began; whether it was killed, and the seconds it took."""
        from tests.flows.forked_stage import run_step

        at_work = self._context.Event()
        process = self._context.Process(target=run_step, args=(self.settings, name, store.url, str(self._log), at_work))
        process.start()
        assert at_work.wait(timeout=300)
        started = time.monotonic()
        process.join(kill_after)
        process.kill()
        process.join()
        assert process.exitcode in (0, -signal.SIGKILL)
        return process.exitcode != 0, time.monotonic() - started

    def computed(self) -> Counter[str]:
        """What the runs since the last call have computed, and how often."""
        lines = self._log.read_text().split() if self._log.exists() else []
        self._log.unlink(missing_ok=True)
        return Counter(lines)

    def digests(self, store: Store) -> dict[str, str]:
        """Node -> digest of its artifact's files, which all have to be there and whole."""
        findings = look_up(self.plan, store)
        assert {finding.condition for finding in findings.values()} == {Condition.CACHED}
        digests = {name: finding.artifact.manifest.digest for name, finding in findings.items() if finding.artifact}
        report = findings["report"].artifact
        assert report is not None
        # The report tells how long each stage took: its page is the same but for that.
        return digests | {"report": TIMES_IN_REPORT.sub("", report.read_bytes("report.html").decode())}


@pytest.fixture(scope="module")
def dag(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealDag]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMP_NUM_THREADS", "1")  # as many threads everywhere: sums in another order differ in the last bit
        yield RealDag(tmp_path_factory.mktemp("dag"))


@pytest.fixture(scope="module")
def undisturbed(dag: RealDag, tmp_path_factory: pytest.TempPathFactory) -> tuple[Store, dict[str, float]]:
    """The store of a run that nothing disturbs, and the seconds that each node took."""
    store = Store(str(tmp_path_factory.mktemp("undisturbed")))
    seconds = {node.name: dag.run(node.name, store)[1] for node in dag.plan.nodes}
    dag.computed()
    return store, seconds


def test_stages_killed_at_random_moments_lose_one_shard_or_checkpoint_each(
    dag: RealDag, undisturbed: tuple[Store, dict[str, float]], tmp_path: Path
) -> None:
    reference, seconds = undisturbed
    store, moments = Store(str(tmp_path / "store")), random.Random(11)
    assert set(KILLS) == {node.name for node in dag.plan.nodes}
    assert sum(KILLS.values()) == 28
    for node in dag.plan.nodes:
        kills, longest = 0, seconds[node.name]
        while kills < KILLS[node.name]:
            killed, _ = dag.run(node.name, store, kill_after=moments.uniform(0, longest))
            kills += killed
            if not killed:  # it was faster than that: from its beginning again
                assert store.look_up(node.stage.name, node.key).condition is Condition.CACHED
                store.discard(node.stage.name, node.key)
                dag.computed()
                kills, longest = 0, longest * 0.7
        killed, _ = dag.run(node.name, store)
        assert not killed
        check_lost_work(node.name, dag.computed(), expected_work(dag, node.name, store), kills)
    assert dag.digests(store) == dag.digests(reference)


def expected_work(dag: RealDag, name: str, store: Store) -> set[str]:
    """What an undisturbed run of a node computes, once each."""
    node = dag.plan.by_name[name]
    if isinstance(node.stage, ShardedStage):
        inputs = {
            role: store.artifact(dag.plan.by_name[source].stage.name, dag.plan.by_name[source].key)
            for role, source in node.inputs.items()
        }
        return {f"shard-{index}" for index in range(node.stage.count_shards(node.config, inputs))}
    return {f"step-{index + 1}" for index in range(4)} if name == "train" else {"whole"}


def check_lost_work(name: str, computed: Counter[str], expected: set[str], kills: int) -> None:
    """Everything was computed, and every kill cost at most one shard, checkpoint interval or stage in one piece."""
    assert set(computed) == expected, name
    repeated = sum(computed.values()) - len(expected)
    assert repeated <= kills, f"{name}: {computed} after {kills} kills"


def start_comat(dag: RealDag, store: str, *arguments: str) -> subprocess.Popen[str]:
    command = [
        sys.executable,
        "-m",
        "flows.command_line.cli",
        "run",
        "miniature",
        *dag.arguments,
        "--store",
        store,
        *arguments,
    ]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def finish(process: subprocess.Popen[str]) -> dict[str, dict]:
    output, errors = process.communicate(timeout=900)
    assert process.returncode == 0, errors
    return json.loads(output.splitlines()[-1])


def kill_when(process: subprocess.Popen[str], store: Store, parts: int, delay: float) -> dict[str, str]:
    """Kill a run some seconds after it has finished so many shards; part -> digest of the shards that are whole."""
    while len(finished_parts(store)) < parts:
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)
    time.sleep(delay)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    return finished_parts(store)


def finished_parts(store: Store) -> dict[str, str]:
    """Part -> the time records of its files, which a shard that is built again changes."""
    parts = {}
    for stage, key in store.entries(stage_names()):
        folder = store.folder(stage, key)
        for name in folder.sizes():
            if name.startswith(PARTS):
                files = names_of_part(folder, name.removeprefix(PARTS).removesuffix(".json"))
                assert files is not None
                parts[f"{stage}/{key}/{name}"] = str([folder.read(f".checksums/{file}.json") for file in files])
    return parts


@pytest.mark.usefixtures("prefect_url")
def test_flow_killed_twice_and_then_run_twice_at_once(
    dag: RealDag, undisturbed: tuple[Store, dict[str, float]], tmp_path: Path
) -> None:
    store, moments = Store(str(tmp_path / "store")), random.Random(3)
    kept: dict[str, str] = {}
    for parts in (1, 5):
        process = start_comat(dag, store.url, "--set", "execution.workers=3")
        kept |= kill_when(process, store, parts, moments.uniform(0, 2))
    assert len(kept) >= 5
    both = [start_comat(dag, store.url, "--set", "execution.workers=2", "--json") for _ in range(2)]
    first, second = (finish(process) for process in both)
    assert {name: outcome["key"] for name, outcome in first.items()} == {
        name: outcome["key"] for name, outcome in second.items()
    }
    assert dag.digests(store) == dag.digests(undisturbed[0])
    assert {name: digest for name, digest in finished_parts(store).items() if name in kept} == kept


@pytest.mark.usefixtures("prefect_url")
def test_run_in_s3_is_resumed_by_dask_workers(
    dag: RealDag, undisturbed: tuple[Store, dict[str, float]], s3_store: str
) -> None:
    store = Store(s3_store)
    kept = kill_when(start_comat(dag, s3_store), store, 3, 0.5)
    assert len(kept) >= 3
    dask = ("--set", "execution.runner=dask", "--set", "execution.workers=2")
    outcomes = finish(start_comat(dag, s3_store, *dask, "--json"))
    assert all(outcome["path"].startswith(f"{s3_store}/") for outcome in outcomes.values())
    assert dag.digests(store) == dag.digests(undisturbed[0])
    assert {name: digest for name, digest in finished_parts(store).items() if name in kept} == kept
    again = finish(start_comat(dag, s3_store, "--json"))
    assert all(outcome["cached"] for outcome in again.values())
