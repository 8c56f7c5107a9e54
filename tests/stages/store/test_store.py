"""The store as a whole; its artifacts and leases have tests of their own."""

import pytest

from stages.store.store import default_store


def test_environment_names_the_store_of_who_gives_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COMAT_STORE", raising=False)
    assert default_store() == "runs"
    monkeypatch.setenv("COMAT_STORE", "s3://bucket/comat")
    assert default_store() == "s3://bucket/comat"
