"""A real server, a real worker, and the deployments of prefect.yaml."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.fakes.dag import PRESET
from tests.flows.conftest import ROOT

pytestmark = pytest.mark.slow

STAGES = ["prompts", "pairs", "entities", "adapt", "latents", "train", "images", "report"]
EVALUATIONS = ["evaluate-t2i-compbench", "evaluate-judge", "evaluate-fidelity"]


def prefect(*arguments: str) -> str:
    """Run a command of Prefect's own command line."""
    finished = subprocess.run(
        [sys.executable, "-m", "prefect", "--no-prompt", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert finished.returncode == 0, finished.stdout + finished.stderr
    return finished.stdout


@pytest.fixture(scope="module")
def worker(prefect_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:  # noqa: ARG001
    """Deploy everything and start a worker whose flow runs see the fake DAG; gives the folder for the tally."""
    folder = tmp_path_factory.mktemp("worker")
    (folder / "sitecustomize.py").write_text(
        "from stages import registry\nfrom tests.fakes.dag import NODES\n\nregistry.NODES = NODES\n"
    )
    prefect("work-pool", "create", "comat", "--type", "process")
    prefect("deploy", "--all")
    environment = {"PYTHONPATH": f"{folder}{os.pathsep}{ROOT}", "COMAT_TEST_TALLY": str(folder / "tally.txt")}
    process = subprocess.Popen(
        [sys.executable, "-m", "prefect", "worker", "start", "--pool", "comat", "--type", "process"],
        cwd=ROOT,
        env={**os.environ, **environment},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    yield folder
    process.send_signal(signal.SIGINT)
    process.wait(timeout=60)


def run_deployment(name: str, **parameters: Any) -> dict[str, str]:
    """Run a deployment to its end; task run name -> state, with the flow's own state under "flow"."""
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId

    with get_client(sync_client=True) as client:
        deployment = client.read_deployment_by_name(f"comat/{name}")
        run = client.create_flow_run_from_deployment(deployment.id, parameters=parameters)
        deadline = time.monotonic() + 300
        while True:
            now = client.read_flow_run(run.id)
            tasks = client.read_task_runs(flow_run_filter=FlowRunFilter(id=FlowRunFilterId(any_=[run.id])))
            states = {task.name: task.state for task in tasks}
            done = [state for state in (now.state, *states.values()) if state and state.is_final()]
            if len(done) == len(states) + 1 and (states or done[0].is_failed()):
                return {
                    "flow": done[0].name or "",
                    **{name: state.name or "" for name, state in states.items() if state},
                }
            assert time.monotonic() < deadline, (now.state, states)
            time.sleep(0.5)


def artifacts() -> dict[str, Any]:
    """Key -> data of the newest artifact shown in the UI."""
    from prefect.client.orchestration import get_client

    with get_client(sync_client=True) as client:
        answer = client.request("POST", "/artifacts/latest/filter", json={})
        return {artifact["key"]: artifact["data"] for artifact in answer.json()}


def test_deployments_cover_every_stage_and_evaluation(worker: Path) -> None:  # noqa: ARG001
    from prefect.client.orchestration import get_client

    with get_client(sync_client=True) as client:
        deployed = {deployment.name: deployment for deployment in client.read_deployments()}
    assert set(deployed) == {"full", *STAGES, *EVALUATIONS}
    for name, deployment in deployed.items():
        assert bool(deployment.schedules) == (name in EVALUATIONS)
        assert deployment.parameter_openapi_schema
        properties = deployment.parameter_openapi_schema["properties"]
        assert set(properties) == {"preset", "only", "refresh", "store", "settings"}
        assert all(field["description"] for field in properties.values())


def test_deployed_stages_exist() -> None:
    from stages.registry import NODES

    names = {node.name for node in NODES}
    for deployment in yaml.safe_load((ROOT / "prefect.yaml").read_text())["deployments"]:
        for stage in deployment["parameters"].get("only", []):
            assert any(name == stage or name.startswith(f"{stage}.") for name in names), stage


def test_full_run_then_refresh_of_one_stage(worker: Path, tmp_path: Path) -> None:
    store = str(tmp_path / "store")
    first = run_deployment("full", preset=PRESET, store=store)
    assert first.pop("flow") == "Completed"
    assert set(first.values()) == {"Completed"}
    assert {"numbers", "squares.plain", "squares.plain-0", "squares.shifted-2", "report"} <= set(first)

    (worker / "tally.txt").unlink()
    second = run_deployment("train", preset=PRESET, store=store, only=["squares.shifted"], refresh=["offset"])
    assert second == {
        "flow": "Completed",
        "numbers": "Cached",
        "offset": "Completed",
        **{f"squares.shifted-{index}": "Completed" for index in range(3)},
        "squares.shifted": "Completed",
    }
    assert sorted((worker / "tally.txt").read_text().split()) == ["offset", "squares-0", "squares-1", "squares-2"]

    shown = artifacts()
    steps = json.loads(shown["comat-steps"])
    assert {row["step"]: row["cached"] for row in steps} == {
        "numbers": True,
        "offset": False,
        "squares.shifted": False,
    }
    assert "report.html" in shown["comat-report"]
    assert shown["comat-squares-shifted"] == 100.0


def test_mistake_fails_the_flow_run_with_its_line(worker: Path, tmp_path: Path) -> None:  # noqa: ARG001
    from prefect.client.orchestration import get_client

    states = run_deployment("full", preset=PRESET, store=str(tmp_path / "store"), settings=["numbers.count=0"])
    assert states == {"flow": "Failed"}
    with get_client(sync_client=True) as client:
        newest = max(client.read_flow_runs(), key=lambda run: run.created or 0)
    assert newest.state
    assert newest.state.message
    assert "numbers.count = 0 is not allowed" in newest.state.message
