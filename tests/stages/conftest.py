"""Stores for the tests: on disk, in memory and in S3, so that nothing depends on one file system."""

import secrets
from pathlib import Path

import pytest

from stages.store.store import Store


@pytest.fixture(params=["file", "memory", "s3"])
def any_store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    if request.param == "s3":
        return Store(request.getfixturevalue("s3_store"))
    return Store(str(tmp_path / "store") if request.param == "file" else f"memory://{secrets.token_hex(8)}")


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(str(tmp_path / "store"))


@pytest.fixture(autouse=True)
def tally_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the fake stages count what they compute."""
    monkeypatch.setenv("COMAT_TEST_TALLY", str(tmp_path / "tally.txt"))
    return tmp_path / "tally.txt"
