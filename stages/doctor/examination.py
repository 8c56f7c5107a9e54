"""All examinations, within a few seconds: what has not answered by then is told as such."""

import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import IO

from pydantic import ValidationError

from stages.doctor.disk import examine_disk, with_checkpoints
from stages.doctor.findings import Finding, good, note, problem
from stages.doctor.network import hub_address, is_told_to_be_offline, later, why_unreachable
from stages.doctor.probe import Request, Said
from stages.doctor.software import examine_software
from stages.plan.presets import Preset
from stages.store.store import Store

SECONDS = 8.0
"""After which nothing is waited for; with the start of the command that is less than ten."""
SLOW = "this machine is busy, or has not loaded the libraries for a while: ask again, or with --seconds 60"


class Probe:
    """An examination in a process of its own, and what it has said so far."""

    def __init__(self, examination: str, request: Request, errors: IO[bytes]) -> None:
        """Start it.

        Args:
            errors: an empty file for what it writes on standard error.
        """
        self.examination = examination
        self.said: list[Said] = []
        command = [sys.executable, "-P", "-m", "stages.doctor.probe", examination]
        pipe = subprocess.PIPE
        self._errors = errors
        self._process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=errors, start_new_session=True)
        self._listening = threading.Thread(target=self._listen, args=(request,), daemon=True)
        self._listening.start()

    def wait(self, deadline: float) -> None:
        """Wait for its end, but no longer than until then (`time.monotonic`)."""
        self._listening.join(max(deadline - time.monotonic(), 0))

    @property
    def has_ended(self) -> bool:
        return not self._listening.is_alive()

    @property
    def failure(self) -> str | None:
        """The last line of its trace, if it has failed by itself."""
        if not self._process.returncode:
            return None
        self._errors.seek(0)
        lines = self._errors.read().decode(errors="replace").strip().splitlines()
        return lines[-1] if lines else f"exit code {self._process.returncode}"

    def end(self) -> None:
        """End it, and what it has started. Not waited for: a disk that is slow may keep it for a while."""
        if not self.has_ended:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)

    def _listen(self, request: Request) -> None:
        """Ask, then read lines until the process ends."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with suppress(BrokenPipeError), self._process.stdin as asked:
            asked.write(request.model_dump_json().encode())
        for line in self._process.stdout:
            with suppress(ValidationError):  # a library's own word, or half a line of a process that was ended
                self.said.append(Said.model_validate_json(line))
        self._process.wait()


def examine(preset: Preset, request: Request, store: Store, seconds: float = SECONDS) -> list[Finding]:
    """Examine everything that a run of the preset needs.

    Args:
        request: the same preset, as the user named it.
        seconds: after which nothing is waited for.
    """
    deadline = time.monotonic() + seconds
    unknown = f"not known within {seconds:.0f} s"
    asking = later(_hub_reason)
    with _probing("data", request) as data, _probing("hardware", request) as hardware:
        findings = [*examine_software()]
        reason = asking()
        findings.append(_hub_finding(reason))
        with _probing("models", request.model_copy(update={"unreachable": reason})) as models:
            for probe in (data, models, hardware):
                probe.wait(deadline)
            findings += _heard(data, problem("data", unknown, SLOW))
            findings += _heard(models, problem("models", unknown, SLOW))
            findings += _heard(hardware, note("memory", f"device and memory are {unknown}", SLOW))
    state = next((said.training_state for said in hardware.said if said.training_state is not None), None)
    written = next((said.written for said in data.said if said.written is not None), None)
    plan = None if written is None else with_checkpoints(written, preset, state)
    return [*findings, examine_disk(plan, store)]


def _hub_reason() -> str | None:
    if is_told_to_be_offline():
        return "HF_HUB_OFFLINE is set"
    return why_unreachable(hub_address())


def _hub_finding(reason: str | None) -> Finding:
    if reason is None:
        return good("hub", f"{hub_address()} answers")
    return note("hub", f"{hub_address()} cannot be reached ({reason})", "a run can use what is here already")


@contextmanager
def _probing(examination: str, request: Request) -> Iterator[Probe]:
    """Start an examination, and end it with the block."""
    with tempfile.TemporaryFile() as errors:
        probe = Probe(examination, request, errors)
        try:
            yield probe
        finally:
            probe.end()


def _heard(probe: Probe, silent: Finding) -> list[Finding]:
    """What a probe has said, and that it has not finished if so."""
    findings = [said.finding for said in probe.said if said.finding is not None]
    if not probe.has_ended:
        return [*findings, silent]
    if probe.failure is not None:
        return [*findings, problem(probe.examination, f"the examination failed: {probe.failure}", "report it")]
    return findings
