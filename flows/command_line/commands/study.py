"""`comat study`: people choose between images of the base and the tuned model, as in the paper's Figure 8."""

import argparse
import json
from pathlib import Path
from typing import Any

from comat_core.support.errors import UserError
from flows.command_line.arguments import add_command, add_preset, port, positive
from stages.evaluate.declared.registry import splits
from stages.plan.presets import load_preset
from stages.store.store import Store
from stages.studies.preference.answers import serving_alone
from stages.studies.preference.building import build_study, default_split
from stages.studies.preference.folder import read_study
from stages.studies.preference.results import gather
from stages.studies.preference.writing import as_lines, write_page

PAGE = "results.html"


def add_to(parsers: Any) -> None:
    study = parsers.add_parser("study", help="let people choose between images of base and tuned", allow_abbrev=False)
    steps = study.add_subparsers(title="steps", required=True, metavar="STEP")
    _add_build(steps)
    _add_serve(steps)
    _add_results(steps)


def _add_build(steps: Any) -> None:
    command = add_command(steps, "build", build, "write a folder with pairs of a preset's images")
    add_preset(command)
    command.add_argument("--out", dest="output", required=True, metavar="FOLDER", help="a new folder")
    command.add_argument(
        "--split", choices=splits(), help="whose prompts (default: dsg where the preset draws it, else test)"
    )
    command.add_argument("--prompts", type=positive, default=100, metavar="N", help="drawn (default: 100)")
    command.add_argument("--seed", type=int, metavar="N", help="of the draw and the sides (default: the preset's)")


def _add_serve(steps: Any) -> None:
    command = add_command(steps, "serve", serve, "serve a study's page, one link per rater")
    command.add_argument("folder", metavar="FOLDER", help="that `comat study build` has written")
    command.add_argument("--raters", type=positive, default=5, metavar="N", help="links to have (default: 5)")
    command.add_argument("--port", type=port, default=7870, metavar="N", help="(default: 7870; 0: any)")
    command.add_argument("--host", default="127.0.0.1", metavar="ADDRESS", help="to listen on (default: 127.0.0.1)")
    command.add_argument("--address", metavar="URL", help="that the links begin with, where raters reach it by another")


def _add_results(steps: Any) -> None:
    command = add_command(steps, "results", results, "tell how often each model was preferred")
    command.add_argument("folder", metavar="FOLDER", help="that `comat study build` has written")
    command.add_argument("--output", metavar="FILE", help="HTML page with the chart (default: FOLDER/results.html)")
    command.add_argument("--json", action="store_true", help="print one JSON object instead of lines")


def build(options: argparse.Namespace) -> int:
    """Write the study's folder, and print it."""
    preset = load_preset(options.preset, options.settings)
    split = options.split or default_split(preset)
    seed = preset.shared.seed if options.seed is None else options.seed
    output = Path(options.output)
    build_study(preset, options.preset, Store(options.store), output, split=split, count=options.prompts, seed=seed)
    print(f"{options.prompts} pairs of images of the split {split} in {output}")
    return 0


def serve(options: argparse.Namespace) -> int:
    """Print the raters' links, then serve the study until Ctrl-C."""
    folder = Path(options.folder)
    read_study(folder)
    with serving_alone(folder):
        try:
            _serve(folder, options)
        except KeyboardInterrupt:
            print()
    return 0


def _serve(folder: Path, options: argparse.Namespace) -> None:
    from flows.pages.study.server import StudyServer  # half a second that the other commands need not wait

    try:
        server = StudyServer(folder, options.raters, options.port, options.host, options.address)
    except OSError as error:
        advice = "choose another --port, or 0 for any free one, and an address of this machine as --host"
        where = f"--host {options.host} --port {options.port}"
        raise UserError(f"cannot serve here: {error.strerror}", where, advice) from error
    with server:
        print("\n".join([*server.links(), "one link per rater (Ctrl-C ends it)"]), flush=True)
        server.serve_forever()


def results(options: argparse.Namespace) -> int:
    """Work the results out, write the page with the chart, and print the numbers."""
    folder = Path(options.folder)
    found = gather(folder)
    output = folder / PAGE if options.output is None else Path(options.output)
    write_page(found, output)
    print(json.dumps(found.as_json()) if options.json else "\n".join([*as_lines(found), "", str(output)]))
    return 0
