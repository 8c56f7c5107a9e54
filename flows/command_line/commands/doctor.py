"""`comat doctor`: whether a run of a preset can start here, and what it will take."""

import argparse
import json
from typing import Any

from flows.command_line.arguments import add_command, add_preset, positive
from stages.doctor.examination import SECONDS, examine
from stages.doctor.findings import Verdict
from stages.doctor.probe import Request
from stages.plan.presets import load_preset
from stages.store.store import Store

EXIT_OF_PROBLEMS = 2


def add_to(parsers: Any) -> None:
    command = add_command(parsers, "doctor", doctor, "tell whether a preset can run here, and what it will take")
    add_preset(command)
    command.add_argument("--json", action="store_true", help="print one JSON object instead of lines")
    command.add_argument(
        "--seconds", type=positive, default=int(SECONDS), metavar="N", help="to wait for answers (default: 8)"
    )


def doctor(options: argparse.Namespace) -> int:
    """Print one line per finding; exit code 2 if a run cannot start."""
    preset = load_preset(options.preset, options.settings)
    request = Request(preset=options.preset, settings=options.settings)
    findings = examine(preset, request, Store(options.store), options.seconds)
    problems = [finding for finding in findings if finding.verdict is Verdict.PROBLEM]
    if options.json:
        found = [finding.model_dump(mode="json") for finding in findings]
        print(json.dumps({"preset": preset.name, "can_start": not problems, "findings": found}))
    else:
        print("\n".join(map(str, findings)))
        print(f"{len(problems)} problems" if problems else f"`comat run {options.preset}` can start")
    return EXIT_OF_PROBLEMS if problems else 0
