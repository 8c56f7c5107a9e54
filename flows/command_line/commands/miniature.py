"""`comat miniature`: the miniature world's models, rebuilt."""

import argparse
from pathlib import Path
from typing import Any

import data
from data.miniature_world.seeds import SEEDS
from flows.command_line.arguments import add_command
from stages.store.local_disk import check_folder


def add_to(parsers: Any) -> None:
    command = add_command(parsers, "miniature", miniature, "train the miniature world's models from nothing")
    command.add_argument("models", nargs="*", metavar="MODEL", help=f"any of {', '.join(SEEDS)} (default: all)")
    command.add_argument(
        "--state", metavar="FOLDER", help="keep the trainings' state here, for the same command to go on from"
    )
    target = Path(data.__file__).parent / "miniature"
    command.add_argument(
        "--target", default=str(target), metavar="FOLDER", help="of the models (default: the package's)"
    )


def miniature(options: argparse.Namespace) -> int:
    from data.miniature_world.build import build

    target = Path(options.target)
    check_folder("models", target, "choose another --target")
    build(target, options.models, Path(options.state) if options.state else None)
    return 0
