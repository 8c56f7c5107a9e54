"""`comat study`: people choose between images of the base and the tuned model, as in the paper's Figure 8."""

import argparse
import json
from pathlib import Path

from comat_core.support.errors import UserError
from stages.plan.presets import load_preset
from stages.store.store import Store
from stages.study.answers import serving_alone
from stages.study.building import build_study, default_split
from stages.study.folder import read_study
from stages.study.results import gather
from stages.study.writing import as_lines, write_page

PAGE = "results.html"


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
    from flows.study.server import StudyServer  # half a second that the other commands need not wait

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
