"""A Prefect API for a run: the configured one, or, when none is configured, a server on this machine.

That server runs in a process of its own, starts while this one imports the flow, and ends with it, even if this one is
killed: it watches its standard input, which closes then. Its history is in Prefect's usual SQLite file.
"""

import os
import re
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
from pathlib import Path
from typing import IO

from comat_core.support.errors import UserError
from flows.failures import record
from flows.prefect_start.configured_api import check_configured_api
from flows.prefect_start.proxies import check_proxies, no_proxy_for_loopback
from flows.prefect_start.settings import read_prefect_settings
from flows.prefect_start.start_lock import one_start_at_a_time

START_SECONDS = 300.0  # on a busy machine, with a database still to be created
END_SECONDS = 30.0
IDLE_SERVICES = ("SCHEDULER", "LATE_RUNS", "PAUSE_EXPIRATIONS", "CANCELLATION_CLEANUP", "FOREMAN", "TRIGGERS")
EXCEPTION_LINE = re.compile(r"^[A-Za-z_][\w.]*(?:Error|Exception|Exit)\b.*", re.MULTILINE)


@contextmanager
def prefect_api() -> Iterator[None]:
    """Use the configured Prefect API inside the block, or a server of our own.

    Raises:
        UserError: the configured one does not answer, ours does not start, or a proxy or a setting cannot be used.
    """
    with no_proxy_for_loopback():
        check_proxies()
        read_prefect_settings()
        from prefect.settings import PREFECT_API_URL, PREFECT_LOGGING_TO_API_ENABLED, temporary_settings

        if configured := PREFECT_API_URL.value():
            check_configured_api(configured)
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
def _server(output: IO[bytes]) -> Iterator[str]:
    from prefect.settings import PREFECT_HOME

    home, port = PREFECT_HOME.value(), _free_port()
    with one_start_at_a_time(home, patience=START_SECONDS):
        process = _start(port, output)
        try:
            import flows.comat  # noqa: F401  (takes about as long as the server)

            _wait_until_ready(port, process, output, home)
        except BaseException:
            _end(process)
            raise
    try:
        yield f"http://127.0.0.1:{port}/api"
    finally:
        _end(process)


def _start(port: int, output: IO[bytes]) -> subprocess.Popen[bytes]:
    services_off = {f"PREFECT_SERVER_SERVICES_{name}_ENABLED": "false" for name in IDLE_SERVICES}
    return subprocess.Popen(
        [sys.executable, "-P", "-m", "flows.server", str(port)],
        stdin=subprocess.PIPE,
        stdout=output,
        stderr=subprocess.STDOUT,
        env={**os.environ, **services_off},
        start_new_session=True,  # a Ctrl-C is this process's to handle
    )


def _end(process: subprocess.Popen[bytes]) -> None:
    assert process.stdin is not None
    process.stdin.close()
    try:
        process.wait(END_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _wait_until_ready(port: int, process: subprocess.Popen[bytes], output: IO[bytes], home: Path) -> None:
    directly = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        try:
            with directly.open(f"http://127.0.0.1:{port}/api/health", timeout=5):
                return
        except (urllib.error.URLError, OSError):
            if process.poll() is not None:
                break
            time.sleep(0.05)
    raise _start_failure(process, output, home)


def _start_failure(process: subprocess.Popen[bytes], output: IO[bytes], home: Path) -> UserError:
    """Why the server did not start, in one line; all that it printed goes to a file."""
    output.seek(0)
    printed = output.read().decode(errors="replace")
    told = EXCEPTION_LINE.findall(printed)
    reason = told[-1] if told else f"exit code {process.returncode}"
    if process.poll() is None:
        reason = f"no answer within {START_SECONDS:.0f} s"
    advice = (
        f"see there; if Prefect's database in {home} is damaged or another version's, move it away or set PREFECT_HOME"
        " to another folder"
    )
    return UserError(f"the local Prefect server did not start: {reason}", str(record(printed)), advice)


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
