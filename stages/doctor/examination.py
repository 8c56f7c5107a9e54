"""All examinations, within a few seconds: what has not answered by then is told as such."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

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


@dataclass
class Probe:
    """An examination in a process of its own, and what it has said so far."""

    examination: str
    process: subprocess.Popen[bytes]
    said: list[Said] = field(default_factory=list)
    error: bytes = b""

    def listen(self) -> None:
        """Read lines until the process ends."""
        assert self.process.stdout is not None
        assert self.process.stderr is not None
        for line in self.process.stdout:
            try:
                self.said.append(Said.model_validate_json(line))
            except ValidationError:  # a library's own word, or half a line of a process that was ended
                continue
        self.error = self.process.stderr.read()
        self.process.wait()

    @property
    def failure(self) -> str | None:
        """The last line of its trace, if it has failed by itself."""
        if self.process.poll() in (None, 0):
            return None
        lines = self.error.decode(errors="replace").strip().splitlines()
        return lines[-1] if lines else f"exit code {self.process.returncode}"


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
                _wait(probe, deadline)
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
    """Start an examination; it has ended when the block has."""
    command = [sys.executable, "-m", "stages.doctor.probe", examination]
    pipe = subprocess.PIPE
    process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, start_new_session=True)
    probe = Probe(examination, process)
    threading.Thread(target=probe.listen, daemon=True).start()
    try:
        assert process.stdin is not None
        process.stdin.write(request.model_dump_json().encode())
        process.stdin.close()
        yield probe
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)  # not waited for: a disk that is slow may keep it for a while


def _wait(probe: Probe, deadline: float) -> None:
    try:
        probe.process.wait(max(deadline - time.monotonic(), 0))
    except subprocess.TimeoutExpired:
        return


def _heard(probe: Probe, silent: Finding) -> list[Finding]:
    """What a probe has said, and that it has not finished if so."""
    findings = [said.finding for said in probe.said if said.finding is not None]
    if probe.process.poll() is None:
        return [*findings, silent]
    if probe.failure is not None:
        return [*findings, problem(probe.examination, f"the examination failed: {probe.failure}", "report it")]
    return findings
