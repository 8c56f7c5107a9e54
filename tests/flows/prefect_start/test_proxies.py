"""Proxies in the environment, whatever it says."""

import os
import subprocess
import sys
import urllib.request

import pytest

from comat_core.support.errors import UserError
from flows.prefect_start.proxies import check_proxies, no_proxy_for_loopback
from tests.flows.answering import NOBODY, answering
from tests.flows.prefect_start.conftest import PROXIES


@pytest.mark.parametrize("excepted", [None, "example.org", "127.0.0.1", "*"])
def test_loopback_is_asked_directly_and_others_as_before(bare: pytest.MonkeyPatch, excepted: str | None) -> None:
    bare.setenv("http_proxy", f"http://{NOBODY}")
    if excepted is not None:
        bare.setenv("NO_PROXY", excepted)
    before = dict(os.environ)
    with answering(200, b"here") as url, no_proxy_for_loopback():
        for name in ("127.0.0.1", "localhost"):
            with urllib.request.urlopen(url.replace("127.0.0.1", name), timeout=10) as answer:
                assert answer.read() == b"here"
        child = "import urllib.request as u, sys; print(u.urlopen(sys.argv[1]).read())"
        output = subprocess.check_output([sys.executable, "-c", child, url])
        assert output == b"b'here'\n"
        bypassed = urllib.request.proxy_bypass("example.org")
        assert bool(bypassed) == (excepted in ("example.org", "*"))
    assert dict(os.environ) == before


def test_without_proxies_nothing_is_set(bare: pytest.MonkeyPatch) -> None:
    bare.setenv("no_proxy", "example.org")
    with no_proxy_for_loopback():
        assert os.environ["no_proxy"] == "example.org"
        assert "NO_PROXY" not in os.environ


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("all_proxy", "socks4://user:secret@127.0.0.1:9", "Unknown scheme"),
        ("http_proxy", "ftp://127.0.0.1:9", "Unknown scheme"),
        ("https_proxy", "http://127.0.0.1:port", "Invalid port"),
    ],
)
def test_a_kind_that_cannot_be_used_is_told(bare: pytest.MonkeyPatch, name: str, value: str, reason: str) -> None:
    bare.setenv(name, value)
    with pytest.raises(UserError, match=rf"{reason}.*\({name}\): name an http:// proxy") as told:
        check_proxies()
    assert "secret" not in str(told.value)


@pytest.mark.parametrize("value", ["http://127.0.0.1:9", "127.0.0.1:9", "https://proxy.example:3128"])
def test_a_usable_kind_passes(bare: pytest.MonkeyPatch, value: str) -> None:
    for name in PROXIES[:3]:
        bare.setenv(name, value)
    check_proxies()
