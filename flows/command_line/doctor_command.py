"""`comat doctor`: whether a run of a preset can start here, and what it will take."""

import argparse
import json

from stages.doctor.examination import examine
from stages.doctor.findings import Verdict
from stages.doctor.probe import Request
from stages.plan.presets import load_preset
from stages.store.store import Store

EXIT_OF_PROBLEMS = 2


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
