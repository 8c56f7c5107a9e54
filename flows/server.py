"""A Prefect API for a run on this machine, when none is configured.

The server runs in a process of its own, starts while this one imports the flow, and ends with it, even if this one is
killed: it watches its standard input, which closes then. Its history is in Prefect's usual SQLite file.
"""

import os
import runpy
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager

START_SECONDS = 300.0  # on a busy machine, with a database still to be created
IDLE_SERVICES = ("SCHEDULER", "LATE_RUNS", "PAUSE_EXPIRATIONS", "CANCELLATION_CLEANUP", "FOREMAN", "TRIGGERS")


@contextmanager
def prefect_api() -> Iterator[None]:
    """Use the configured Prefect API inside the block, or a server of our own."""
    from prefect.settings import PREFECT_API_URL, PREFECT_LOGGING_TO_API_ENABLED, temporary_settings

    if PREFECT_API_URL.value():
        yield
        return
    with (
        tempfile.TemporaryFile() as output,
        _server(output) as url,
        # The server ends with the run: messages still on their way to it would end in errors on the screen.
        temporary_settings({PREFECT_API_URL: url, PREFECT_LOGGING_TO_API_ENABLED: False}),
    ):
        yield


@contextmanager
def _server(output) -> Iterator[str]:
    port = _free_port()
    services_off = {f"PREFECT_SERVER_SERVICES_{name}_ENABLED": "false" for name in IDLE_SERVICES}
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "flows.server", str(port)],  # -P: no module from the working folder
        stdin=subprocess.PIPE,
        stdout=output,
        stderr=subprocess.STDOUT,
        env={**os.environ, **services_off},
        start_new_session=True,  # a Ctrl-C is this process's to handle
    )
    try:
        import flows.comat  # noqa: F401  (takes about as long as the server)

        _wait_until_ready(port, process, output)
        yield f"http://127.0.0.1:{port}/api"
    finally:
        assert process.stdin is not None
        process.stdin.close()
        process.wait()


def _wait_until_ready(port: int, process: subprocess.Popen, output) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/api/health", timeout=5):
                return
        except (urllib.error.URLError, OSError):
            if process.poll() is not None:
                break
            time.sleep(0.05)
    output.seek(0)
    raise RuntimeError(f"the local Prefect server did not start:\n{output.read().decode(errors='replace')}")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _end_with_parent() -> None:
    sys.stdin.read()
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    threading.Thread(target=_end_with_parent, daemon=True).start()
    address = ["--host", "127.0.0.1", "--port", sys.argv[1]]
    sys.argv = ["prefect", "server", "start", *address, "--no-ui", "--log-level", "ERROR"]
    runpy.run_module("prefect", run_name="__main__")
