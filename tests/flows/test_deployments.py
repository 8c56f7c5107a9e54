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
from uuid import UUID

import pytest

from flows.execution import GPU_TAG
from stages.plan.pipeline import make_plan
from stages.plan.presets import load_preset
from tests.flows.conftest import ROOT
from tests.flows.deployed import deployments, evaluation_deployments, undeployed
from tests.scaled_down import SETTINGS

pytestmark = pytest.mark.slow

STAGES = ["prompts", "pairs", "entities", "adapt", "latents", "train", "images", "attention", "report"]
EVALUATIONS = evaluation_deployments()

BENCHMARKS = ("attributes", "spatial", "complex", "judge", "fidelity", "sensitivity")


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
def worker(prefect_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:  # noqa: ARG001
    """Deploy everything and start a worker."""
    prefect("work-pool", "create", "comat", "--type", "process")
    prefect("work-pool", "set-concurrency-limit", "comat", "1")
    prefect("concurrency-limit", "create", GPU_TAG, "1")
    prefect("deploy", "--all")
    process = subprocess.Popen(
        [sys.executable, "-m", "prefect", "worker", "start", "--pool", "comat"],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1", "COMAT_STORE": str(tmp_path_factory.mktemp("store"))},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    yield
    process.send_signal(signal.SIGINT)
    process.wait(timeout=60)


def start_deployment(name: str, **parameters: Any) -> UUID:
    """Ask for a run of a deployment; its id."""
    from prefect.client.orchestration import get_client

    with get_client(sync_client=True) as client:
        deployment = client.read_deployment_by_name(f"comat/{name}")
        return client.create_flow_run_from_deployment(deployment.id, parameters=parameters).id


def states_of(run: UUID) -> dict[str, Any]:
    """Task run name -> state, with the flow's own state under "flow"."""
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId

    with get_client(sync_client=True) as client:
        tasks = client.read_task_runs(flow_run_filter=FlowRunFilter(id=FlowRunFilterId(any_=[run])))
        return {"flow": client.read_flow_run(run).state, **{task.name: task.state for task in tasks}}


def end_of(run: UUID) -> dict[str, str]:
    """Wait for the end of a run: names of the states of the flow and of its tasks."""
    deadline = time.monotonic() + 1800
    while True:  # the server takes task states in with some delay
        states = states_of(run)
        flow = states["flow"]
        if all(state and state.is_final() for state in states.values()) and (
            len(states) > 1 or not flow.is_completed()
        ):
            return {name: state.name for name, state in states.items()}
        assert time.monotonic() < deadline, states
        time.sleep(0.5)


def run_deployment(name: str, **parameters: Any) -> dict[str, str]:
    """Run a deployment to its end."""
    return end_of(start_deployment(name, **parameters))


def artifacts() -> dict[str, Any]:
    """Key -> data of the newest artifact shown in the UI."""
    from prefect.client.orchestration import get_client

    with get_client(sync_client=True) as client:
        answer = client.request("POST", "/artifacts/latest/filter", json={})
        return {artifact["key"]: artifact["data"] for artifact in answer.json()}


def test_deployments_cover_every_stage_and_evaluation(worker: None) -> None:  # noqa: ARG001
    from prefect.client.orchestration import get_client

    with get_client(sync_client=True) as client:
        deployed = {deployment.name: deployment for deployment in client.read_deployments()}
    assert set(deployed) == {"full", *STAGES, *EVALUATIONS}
    for name, deployment in deployed.items():
        assert bool(deployment.schedules) == (name in EVALUATIONS)
        assert all(schedule.parameters == {"only_if_trained": True} for schedule in deployment.schedules)
        assert deployment.parameter_openapi_schema
        properties = deployment.parameter_openapi_schema["properties"]
        names = {"preset", "only", "refresh", "store", "settings", "recorded_as", "only_if_trained"}
        assert set(properties) == names
        assert all(field["description"] and field.get("examples") for field in properties.values())
    pool = json.loads(prefect("work-pool", "inspect", "comat", "--output", "json"))
    assert pool["concurrency_limit"] == 1


def test_evaluations_are_scheduled_for_the_next_nights(worker: None) -> None:  # noqa: ARG001
    from prefect.client.orchestration import get_client

    with get_client(sync_client=True) as client:
        names = {deployment.id: deployment.name for deployment in client.read_deployments()}
        deadline = time.monotonic() + 120
        scheduled: set[str | None] = set()
        while scheduled != set(EVALUATIONS):  # the server's scheduler looks for new deployments every few seconds
            assert time.monotonic() < deadline, scheduled
            time.sleep(1)
            runs = [run for run in client.read_flow_runs() if run.auto_scheduled and run.deployment_id]
            scheduled = {names[run.deployment_id] for run in runs if run.deployment_id}
        assert {run.expected_start_time.hour for run in runs if run.expected_start_time} == {3}


def test_deployed_stages_are_those_of_their_presets() -> None:
    for deployment in deployments():
        parameters = deployment["parameters"]
        plan = make_plan(load_preset(parameters["preset"]).sections)
        assert plan.select(parameters.get("only", []), deployment["name"]) or deployment["name"] == "full"


def test_every_evaluation_of_the_dag_is_deployed() -> None:
    assert undeployed() == []


def test_full_run_then_refresh_of_training(worker: None, tmp_path: Path) -> None:  # noqa: ARG001
    settings = [*SETTINGS, f"train.tracking.folder={tmp_path / 'tensorboard'}"]
    place = {"preset": "miniature", "store": str(tmp_path / "store"), "settings": settings}
    first = run_deployment("full", **place)
    assert set(first.values()) == {"Completed"}
    assert {"flow", *(node.name for node in make_plan(load_preset("miniature").sections).nodes)} <= set(first)
    shards = {"pairs-0", "pairs-1", "latents-2", "images.tuned-1", "images.tuned.fidelity-0", "scores.judge.base-1"}
    assert shards <= set(first)

    shown = artifacts()
    assert "| train |" in shown["comat-prompts"]
    assert "Most frequent nouns: " in shown["comat-entities"]
    scores = {(row["benchmark"], row["model"]) for row in json.loads(shown["comat-scores"])}
    both = {(name, model) for name in BENCHMARKS for model in ("base", "tuned")}
    assert scores == both | {("sensitivity", "real"), ("fidelity", "real"), ("fidelity", "tuned over base")}
    assert shown["comat-images"].count("data:image/jpeg;base64,") == 2 * 6
    assert "report.html" in shown["comat-report"]
    for node in ("pairs", "latents", "images-base", "train", "images-tuned", "scores-attributes-tuned"):
        assert shown[f"comat-{node}"] == 100.0, node

    second = run_deployment("train", **place, only=["train"], refresh=["train"])
    assert second == {
        "flow": "Completed",
        **dict.fromkeys(("prompts", "pairs", "entities", "latents"), "Cached"),
        "train": "Completed",
    }
    nodes = json.loads(artifacts()["comat-nodes"])
    assert {row["node"]: row["cached"] for row in nodes} == {name: name != "train" for name in second if name != "flow"}


def test_task_waits_for_the_gpu_and_what_is_cached_does_not(worker: None, tmp_path: Path) -> None:  # noqa: ARG001
    from prefect.concurrency.sync import concurrency

    place = {"preset": "miniature", "store": str(tmp_path / "store"), "settings": list(SETTINGS)}
    with concurrency(f"tag:{GPU_TAG}", strict=True):
        run = start_deployment("pairs", **place)
        deadline = time.monotonic() + 120
        while len(states := states_of(run)) < 2:  # a task gets its name when it starts
            assert time.monotonic() < deadline, states
            time.sleep(0.5)
        time.sleep(5)
        assert not list(Path(place["store"]).glob("pairs/*/latents/*"))
    assert set(end_of(run).values()) == {"Completed"}
    with concurrency(f"tag:{GPU_TAG}", strict=True):
        assert run_deployment("pairs", **place) == {"flow": "Completed", "pairs": "Cached"}


def test_mistake_fails_the_flow_run_with_its_line(worker: None, tmp_path: Path) -> None:  # noqa: ARG001
    from prefect.client.orchestration import get_client

    states = run_deployment("full", preset="miniature", store=str(tmp_path / "store"), settings=["train.steps=0"])
    assert states == {"flow": "Failed"}
    with get_client(sync_client=True) as client:
        newest = max(client.read_flow_runs(), key=lambda run: run.created or 0)
    assert newest.state
    assert newest.state.message
    assert "train.steps = 0 is not allowed" in newest.state.message


def test_unknown_parameter_fails_the_flow_run_with_its_line(worker: None) -> None:  # noqa: ARG001
    from prefect.client.orchestration import get_client

    run = start_deployment("full", preset="miniature", stor="elsewhere")
    assert end_of(run) == {"flow": "Failed"}
    with get_client(sync_client=True) as client:
        state = client.read_flow_run(run).state
    assert state
    assert state.message
    assert state.message.startswith("the flow has no parameter 'stor' (flow comat): choose from: preset, only, ")
