"""`comat timeline`: the scores of a preset's trainings, one after the other."""

import argparse
from pathlib import Path
from typing import Any

from comat_core.files.whole_files import write_whole
from comat_core.support.errors import UserError
from flows.command_line.arguments import add_command, add_preset
from stages.plan.history import read_history
from stages.plan.presets import load_preset
from stages.report.timeline import timeline_page
from stages.store.file_names import fitting_name
from stages.store.local_disk import OUTPUT_ADVICE, check_output_file, disk_errors_told
from stages.store.store import Store


def add_to(parsers: Any) -> None:
    command = add_command(parsers, "timeline", timeline, "draw the scores of a preset's trainings")
    add_preset(command)
    command.add_argument("--output", metavar="FILE", help="HTML file (default: PRESET-timeline.html)")


def timeline(options: argparse.Namespace) -> int:
    """Write the page, and print its path."""
    name = load_preset(options.preset, options.settings).name
    store = Store(options.store)
    if not read_history(store, name):
        advice = f"run `comat run {options.preset}` with the same --store first"
        raise UserError("no training of this preset has been evaluated here", f"store {options.store}", advice)
    output = Path(options.output or fitting_name(name, "-timeline.html"))
    check_output_file("page", output)
    with disk_errors_told("page", output, OUTPUT_ADVICE):
        output.parent.mkdir(parents=True, exist_ok=True)
        write_whole(output, timeline_page(store, name).encode())
    print(output)
    return 0
