"""`comat export`: a preset's trained model as a LoRA or a pipeline for other tools, and on the hub if wanted."""

import argparse
from pathlib import Path
from typing import Any, get_args

from comat_core.settings import Precision
from flows.command_line.arguments import add_command, add_preset, repository
from stages.models.hub import push_folder
from stages.plan.presets import load_preset
from stages.store.file_names import fitting_name
from stages.store.store import Store
from stages.tuned.export import EXPORTS, export_model
from stages.tuned.tuned_model import find_tuned_model


def add_to(parsers: Any) -> None:
    command = add_command(parsers, "export", export, "write a preset's trained model for other tools")
    add_preset(command)
    command.add_argument("--format", choices=sorted(EXPORTS), required=True, help="a LoRA, or the merged pipeline")
    command.add_argument("--output", metavar="FOLDER", help="a new folder (default: PRESET-FORMAT)")
    command.add_argument(
        "--precision", choices=get_args(Precision), default="fp32", help="of merged weights (default: fp32)"
    )
    command.add_argument(
        "--push", type=repository, metavar="ORG/NAME", help="upload the folder to this repository of the hub"
    )
    command.add_argument("--private", action="store_true", help="make that repository, if it is new, a private one")


def export(options: argparse.Namespace) -> int:
    """Write the folder, push it if asked to, and print where it is."""
    tuned = find_tuned_model(load_preset(options.preset, options.settings), Store(options.store))
    output = Path(options.output or fitting_name(tuned.preset, f"-{options.format}"))
    print(export_model(tuned, options.format, output, options.precision))
    if options.push:
        print(push_folder(output, options.push, private=options.private))
    return 0
