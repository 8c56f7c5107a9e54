"""The start of Prefect: it starts, or one line tells what to do."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from flows import server
from tests.fakes.dag import PRESET
from tests.flows.answering import NOBODY
from tests.flows.conftest import ROOT

pytestmark = pytest.mark.slow


def start(home: Path, *arguments: str, **environment: str) -> subprocess.Popen[str]:
    """Start `comat run` over the fake DAG with a Prefect folder of its own and no server configured."""
    settings = {"PREFECT_HOME": str(home), "XDG_CACHE_HOME": str(home.parent / "cache"), "OMP_NUM_THREADS": "1"}
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
    return subprocess.Popen(
        [sys.executable, "-m", "tests.fakes.cli", "run", PRESET, "--store", str(home.parent / "store"), *arguments],
        cwd=ROOT,
        env={**kept, **settings, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def line_of(process: subprocess.Popen[str]) -> str:
    """The only line of a start that must fail."""
    output, errors = process.communicate(timeout=300)
    assert (process.returncode, output) == (2, "")
    assert errors.startswith("comat: ")
    assert errors.count("\n") == 1
    return errors


def test_first_runs_in_a_fresh_folder_at_once_behind_a_proxy_all_end_well(tmp_path: Path) -> None:
    proxies = {"http_proxy": f"http://{NOBODY}", "HTTP_PROXY": f"http://{NOBODY}"}
    processes = [start(tmp_path / "home", **proxies) for _ in range(2)]
    for process in processes:
        output, errors = process.communicate(timeout=600)
        assert process.returncode == 0, errors
        assert "Traceback" not in errors
        assert output.endswith("report.html\n")


def test_a_server_that_does_not_end_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "END_SECONDS", 0.2)
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], stdin=subprocess.PIPE)
    server._end(process)
    assert process.returncode == -signal.SIGKILL


class TestOneLineEach:
    """What keeps Prefect from starting: the line, and nothing beside it."""

    def test_a_folder_that_cannot_be_made(self, tmp_path: Path) -> None:
        (tmp_path / "file").touch()
        line = line_of(start(tmp_path / "file" / "home", "--store", str(tmp_path / "store")))
        assert "Prefect cannot keep its records here: Not a directory" in line

    def test_a_database_that_is_none(self, tmp_path: Path) -> None:
        home = tmp_path / "home"
        home.mkdir()
        (home / "prefect.db").write_bytes(b"nothing that SQLite knows" * 100)
        line = line_of(start(home))
        assert "the local Prefect server did not start: " in line
        assert "file is not a database" in line
        (trace,) = (tmp_path / "cache" / "comat" / "failures").iterdir()
        assert str(trace) in line
        assert "Traceback" in trace.read_text()

    def test_a_configured_api_that_cannot_be_reached(self, tmp_path: Path) -> None:
        line = line_of(start(tmp_path / "home", PREFECT_API_URL=f"http://{NOBODY}/api"))
        assert "the configured Prefect API cannot be used: " in line

    def test_settings_that_prefect_refuses(self, tmp_path: Path) -> None:
        line = line_of(start(tmp_path / "home", PREFECT_LOGGING_LEVEL="LOUD"))
        assert "Prefect refuses its settings: level is not allowed: Input should be 'DEBUG'" in line
