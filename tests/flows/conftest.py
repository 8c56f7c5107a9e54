"""One Prefect server for all tests of the flow, with a database of its own."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from stages.plan import dag
from tests.fakes.dag import NODES, PRESET

ROOT = Path(__file__).parent.parent.parent


@pytest.fixture(scope="session")
def prefect_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """URL of the server's API; this process and the ones it starts use it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PREFECT_HOME", str(tmp_path_factory.mktemp("prefect")))
        patch.setenv("PREFECT_SERVER_ANALYTICS_ENABLED", "false")
        patch.setenv("DO_NOT_TRACK", "1")
        patch.setenv("PREFECT_LOGGING_LEVEL", "CRITICAL")
        from prefect.settings import PREFECT_API_URL

        from flows import server

        patch.setattr(server, "IDLE_SERVICES", ())  # a whole server: deployments need its scheduler
        with server.prefect_api():
            url = PREFECT_API_URL.value()
            assert url is not None
            patch.setenv("PREFECT_API_URL", url)
            yield url


@pytest.fixture(autouse=True)
def tally_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the fake stages count what they compute."""
    monkeypatch.setenv("COMAT_TEST_TALLY", str(tmp_path / "tally.txt"))
    return tmp_path / "tally.txt"


@pytest.fixture
def fake_dag(monkeypatch: pytest.MonkeyPatch) -> str:
    """Put the fake DAG in the real one's place and give the path of its preset."""
    monkeypatch.setattr(dag, "NODES", NODES)
    return PRESET


@pytest.fixture
def start_comat(prefect_url: str) -> Callable[..., subprocess.Popen[str]]:  # noqa: ARG001
    """Start `comat` over the fake DAG in a process of its own."""

    def start(*arguments: str, **environment: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "tests.fakes.cli", *arguments],
            cwd=ROOT,
            env={**os.environ, **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    return start
