"""Proxies that the environment names: never for this machine's own addresses, and only of kinds that can be used."""

import os
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager

import httpx

from comat_core.support.errors import UserError

LOOPBACK_NAMES = ("127.0.0.1", "localhost", "::1")
EXCEPTIONS = ("no_proxy", "NO_PROXY")
USED_BY_CLIENTS = ("http", "https", "all")


@contextmanager
def no_proxy_for_loopback() -> Iterator[None]:
    """Let this process, and those that it starts inside the block, ask this machine's own servers directly."""
    named = [name for name in os.environ if name.lower().endswith("_proxy") and name not in EXCEPTIONS]
    excepted = os.environ.get("no_proxy", os.environ.get("NO_PROXY", ""))
    hosts = [host.strip() for host in excepted.split(",") if host.strip()]
    if not named or "*" in hosts:
        yield
        return
    before = {name: os.environ.get(name) for name in EXCEPTIONS}
    value = ",".join([*hosts, *(name for name in LOOPBACK_NAMES if name not in hosts)])
    os.environ.update(dict.fromkeys(EXCEPTIONS, value))
    try:
        yield
    finally:
        for name, former in before.items():
            if former is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = former


def check_proxies() -> None:
    """Refuse what Prefect's client could not even be made with, whatever address it is to ask.

    Raises:
        UserError: a proxy is of an unknown kind, of one whose package is missing, or no address.
    """
    for kind, address in urllib.request.getproxies().items():
        if kind not in USED_BY_CLIENTS:
            continue
        try:
            proxy = address if "://" in address else f"http://{address}"
            httpx.Client(proxy=proxy, trust_env=False, verify=False).close()
        except (ImportError, ValueError, httpx.InvalidURL) as error:
            advice = "name an http:// proxy, unset it, or `pip install httpx[socks]` for a SOCKS one"
            raise UserError(f"the proxy cannot be used: {error}", f"{kind}_proxy", advice) from error
