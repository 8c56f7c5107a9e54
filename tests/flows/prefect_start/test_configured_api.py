"""A Prefect API that is configured, and what may be there instead."""

import json
from pathlib import Path

import pytest

from comat_core.support.errors import UserError
from flows.prefect_start.configured_api import check_configured_api
from tests.flows.answering import NOBODY, answering


@pytest.fixture(autouse=True)
def settings(tmp_path: Path, bare: pytest.MonkeyPatch) -> None:
    bare.setenv("PREFECT_HOME", str(tmp_path))


def problem_with(url: str) -> str:
    from prefect.settings import PREFECT_API_URL, temporary_settings

    with temporary_settings({PREFECT_API_URL: url}), pytest.raises(UserError) as told:
        check_configured_api(url)
    line = str(told.value)
    assert line.startswith("the configured Prefect API cannot be used: ")
    assert line.endswith("start that server or correct the setting; without it, comat starts a server of its own")
    return line


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        (f"http://{NOBODY}/api", f"Connection refused (PREFECT_API_URL = http://{NOBODY}/api)"),
        (f"http://user:secret@{NOBODY}/api", f"Connection refused (PREFECT_API_URL = http://…@{NOBODY}/api)"),
        ("nonsense", "missing an 'http://' or 'https://' protocol"),
        ("http://127.0.0.1:port/api", "Invalid port"),
    ],
)
def test_nobody_answers(url: str, reason: str) -> None:
    line = problem_with(url)
    assert reason in line
    assert "secret" not in line


@pytest.mark.parametrize(
    ("status", "body", "reason"),
    [
        (404, b"no such page", "404"),
        (401, b"", "401"),
        (503, b"", "503"),
        (200, b"<html>hello</html>", "Expecting value"),
        (200, b"{}", "Invalid version"),
        (200, b'"1.4.0"', "incompatible versions"),
    ],
)
def test_something_else_answers(status: int, body: bytes, reason: str) -> None:
    with answering(status, body) as url:
        assert reason in problem_with(f"{url}/api")


def test_the_api_of_this_version_passes() -> None:
    import prefect
    from prefect.settings import PREFECT_API_URL, temporary_settings

    with (
        answering(200, json.dumps(prefect.__version__).encode()) as url,
        temporary_settings({PREFECT_API_URL: url}),
    ):
        check_configured_api(url)
